"""SparkFiles: where files added by `SparkContext.addFile` or `--files` are. They are used where they lie."""
import os


class SparkFiles:
    """Resolves the names of added files."""

    _paths = {}

    def __init__(self):
        raise NotImplementedError("Do not construct SparkFiles objects")

    @classmethod
    def _add(cls, path):
        if not os.path.exists(path):
            raise FileNotFoundError("Added file %s does not exist." % path)
        cls._paths[os.path.basename(path)] = os.path.abspath(path)

    @classmethod
    def get(cls, filename):
        """Absolute path of an added file."""
        return cls._paths.get(filename, os.path.join(cls.getRootDirectory(), filename))

    @classmethod
    def getRootDirectory(cls):
        return os.getcwd()
