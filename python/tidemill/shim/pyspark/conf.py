"""SparkConf: string keys and values. `spark-submit` passes its options through the environment as one JSON object."""
import json
import os

CONF_VARIABLE = "TIDEMILL_SPARK_CONF"


class SparkConf:
    """Configuration of an application. Later settings win; what `spark-submit` was given is there from the start."""

    def __init__(self, loadDefaults=True, _jvm=None, _jconf=None):
        self._values = {}
        if loadDefaults:
            self._values.update({key: str(value) for key, value in json.loads(os.environ.get(CONF_VARIABLE) or "{}").items()})

    def set(self, key, value):
        """Sets a property; values become strings as Spark writes them."""
        if value is None:
            raise ValueError("the value of %s is None" % key)
        self._values[key] = ("true" if value else "false") if isinstance(value, bool) else str(value)
        return self

    def setIfMissing(self, key, value):
        if not self.contains(key):
            self.set(key, value)
        return self

    def setMaster(self, value):
        return self.set("spark.master", value)

    def setAppName(self, value):
        return self.set("spark.app.name", value)

    def setSparkHome(self, value):
        return self.set("spark.home", value)

    def setExecutorEnv(self, key=None, value=None, pairs=None):
        if (key is not None and pairs is not None) or (key is None and pairs is None):
            raise Exception("Either pass one key-value pair or a list of pairs")
        for name, text in [(key, value)] if key is not None else pairs:
            self.set("spark.executorEnv." + name, text)
        return self

    def setAll(self, pairs):
        for key, value in pairs:
            self.set(key, value)
        return self

    def get(self, key, defaultValue=None):
        return self._values.get(key, defaultValue)

    def getAll(self):
        return list(self._values.items())

    def contains(self, key):
        return key in self._values

    def toDebugString(self):
        return "\n".join("%s=%s" % pair for pair in sorted(self._values.items()))
