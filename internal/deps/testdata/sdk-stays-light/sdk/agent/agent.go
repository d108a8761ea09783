package agent

import _ "github.com/spf13/cobra"
