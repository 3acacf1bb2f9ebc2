package vmstore

// Image is a download of the plan: one URL, whatever the number of VMs.
type Image struct {
	URL      string   `json:"url"`
	Checksum string   `json:"checksum,omitempty"`
	Sum      string   `json:"sum,omitempty"` // what the list of sums that Checksum names said when the plan was made
	Extract  *bool    `json:"extract,omitempty"`
	ISO      bool     `json:"iso,omitempty"`
	Paths    []string `json:"paths"` // where it goes, in the order of the VMs
	VMs      []string `json:"vms"`
	Limit    int64    `json:"limit"`          // what it may unpack to, in bytes
	Size     int64    `json:"size,omitempty"` // of the download, where the server says
}
