"""The replay: V1 to V9 trained anew, several seeds each, and the lineage's nine findings judged by what they measured."""
