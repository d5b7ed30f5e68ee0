"""The API: names, defaults, reasons and the models that become the CRD. Pure."""
