"""Loads the native extension: from beside this file in a wheel, else from the path that `spark-submit` names."""
import importlib.machinery
import importlib.util
import os

NATIVE_VARIABLE = "TIDEMILL_NATIVE"


def _candidates():
    named = os.environ.get(NATIVE_VARIABLE)
    if named:
        yield named
    here = os.path.dirname(os.path.abspath(__file__))
    for name in ("_tidemill.abi3.so", "lib_tidemill.so"):
        yield os.path.join(here, name)
    target = os.environ.get("CARGO_TARGET_DIR") or os.path.join(here, "..", "..", "target")
    for profile in ("release", "debug"):
        yield os.path.join(target, profile, "lib_tidemill.so")


def _load():
    tried = []
    for path in _candidates():
        if os.path.isfile(path):
            loader = importlib.machinery.ExtensionFileLoader("_tidemill", path)
            spec = importlib.util.spec_from_file_location("_tidemill", path, loader=loader)
            module = importlib.util.module_from_spec(spec)
            loader.exec_module(module)
            return module
        tried.append(path)
    raise ImportError("the native extension of tidemill is not built: cargo build --release -p tidemill-python (looked for "
                      + ", ".join(tried) + ")")


native = _load()
