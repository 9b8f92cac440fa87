# SPDX-License-Identifier: Apache-2.0
"""The resource types OS::Metering::*, loaded by Heat from a directory of plugin_dirs.

One module holds one resource type. The modules import each other relatively, because Heat loads
them below `heat.engine.plugins`.
"""
