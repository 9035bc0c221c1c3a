"""The configuration, which the package ships as ``lrdecay.conf``."""
