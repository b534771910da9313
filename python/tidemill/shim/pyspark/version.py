"""The version whose API this package has."""
__version__ = "2.4.8"
