# SPDX-License-Identifier: Apache-2.0
"""The version of the services; `make dist` appends a local part to development builds."""

__version__ = "1.0.0"
