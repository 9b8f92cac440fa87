# SPDX-License-Identifier: Apache-2.0
"""One file per version of the schema, oldest first."""
