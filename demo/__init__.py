# SPDX-License-Identifier: Apache-2.0
"""The demonstration: the talk's template scales a real stack out and back."""
