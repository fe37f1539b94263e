# Copyright: contributors to the Webtrends Optimize platform
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A module_utils of a collection, which has to come to the host too."""


def greet(name):
    return f"hello {name}"
