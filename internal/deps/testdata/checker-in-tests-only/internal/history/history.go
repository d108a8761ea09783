package history

import _ "github.com/anishathalye/porcupine"
