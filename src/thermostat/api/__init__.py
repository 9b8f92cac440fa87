# SPDX-License-Identifier: Apache-2.0
"""The WSGI application: one module per noun."""
