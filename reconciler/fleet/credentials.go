package fleet

import "fmt"

// Credentials are what a registry lets one in with. The zero value: there are none. However they are
// printed, nothing secret is among it.
type Credentials struct {
	Username, Password string
	// IdentityToken stands for user and password where `docker login` was given one by the registry.
	IdentityToken string
	// From is where they were read, for people; Missing is why they could not be, where that was tried.
	From, Missing string
}

// None says that there are no credentials.
func (c Credentials) None() bool { return c.Password == "" && c.IdentityToken == "" }

// String tells whose they are and where they were read.
func (c Credentials) String() string {
	if c.None() {
		return "no credentials"
	}
	return c.who()
}

func (c Credentials) who() string {
	if c.IdentityToken != "" {
		return "the token from " + c.From
	}
	return fmt.Sprintf("user %s with the password from %s", c.Username, c.From)
}

// Format writes String, whatever the verb.
func (c Credentials) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(c.String())) }

// MarshalText is String, for encoders.
func (c Credentials) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// Refused says why a registry that refused these credentials may have done so, and what to do.
func (c Credentials) Refused(registry string) string {
	if !c.None() {
		return fmt.Sprintf("registry %s refused %s: correct that, or see to it that it may pull there", registry, c.who())
	}
	why := "none were found for it"
	if c.Missing != "" {
		why = "none could be read: " + c.Missing
	}
	return fmt.Sprintf("registry %s gives it to nobody without credentials, or has no such image, and %s: "+
		"check the name, name them in `registries` of the Fleet, or have the user that runs evenkeel do `docker login %[1]s`", registry, why)
}
