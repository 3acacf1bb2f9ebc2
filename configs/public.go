package configs

import "regexp"

// hashed and credentials are the only secrets that a valid layout holds.
var (
	hashed      = regexp.MustCompile(`\$(?:y|gy|7|6|5|2[aby])\$[^\s"',}\]]*`)
	credentials = regexp.MustCompile(`([a-zA-Z]://)[^\s/@"']*@`)
)

// Public is the text of a layout for everybody's eyes: its password hashes and
// the credentials in its URLs are blanked, and it loads like the layout itself.
func Public(text []byte) []byte {
	text = hashed.ReplaceAll(text, []byte(`$$y$$hidden`))
	return credentials.ReplaceAll(text, []byte(`${1}`))
}
