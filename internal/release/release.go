// Package release is the number of this release, one for all programs.
package release

// Version is what EngineVersion, hastart -version and ha version show.
const Version = "0.1.0"
