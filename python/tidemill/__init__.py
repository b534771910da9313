"""Tidemill for Python: the `pyspark`-shaped package below `shim/` and the native extension it runs on.

The shim is never on the import path by itself, so that a real PySpark installed beside it is unharmed: `spark-submit` puts it there, or
`import tidemill; tidemill.install()` does for a program that is started with plain `python`.
"""
import os
import sys

SHIM = os.path.join(os.path.dirname(os.path.abspath(__file__)), "shim")


def install():
    """Makes `import pyspark` find Tidemill's package from now on. Raises RuntimeError where another pyspark is imported already."""
    loaded = sys.modules.get("pyspark")
    if loaded is not None and not os.path.abspath(loaded.__file__).startswith(SHIM):
        raise RuntimeError("another pyspark is imported already: call tidemill.install() before it")
    if SHIM not in sys.path:
        sys.path.insert(0, SHIM)
