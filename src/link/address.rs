//! Where a bus is, as people write it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use thiserror::Error;

use super::place;

/// Where a bus is.
///
/// | written | meaning |
/// |---|---|
/// | `NAME` | that bus of this user: `$XDG_RUNTIME_DIR/ringmain/NAME.sock`, else `/tmp/ringmain-UID/NAME.sock` |
/// | `unix:PATH` | a Unix socket |
/// | `memory:NAME` | a broker that is embedded in this process |
/// | `tcp://HOST:PORT` | another host, by name or number; nothing is encrypted |
/// | `tls://HOST:PORT` | another host, with encryption; not supported yet |
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Address {
    /// A bus of this user, by its name: letters, digits, `-`, `_` and `.`, at most 64 of them.
    Named(String),
    /// A Unix socket.
    Unix(PathBuf),
    /// A broker that is embedded in this process.
    Memory(String),
    /// A host, without encryption.
    Tcp {
        /// Name or number; IPv6 numbers without brackets.
        host: String,
        /// Port.
        port: u16,
    },
    /// A host, with TLS.
    Tls {
        /// Name or number; IPv6 numbers without brackets.
        host: String,
        /// Port.
        port: u16,
    },
}

/// What is wrong with an address.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AddressError {
    /// There is nothing.
    #[error("the address is empty: give a bus name like `default`, or `unix:PATH`")]
    Empty,
    /// What stands before the colon is not known.
    #[error(
        "{address:?} begins with {scheme:?}, which is no kind of address: use a bus name, unix:PATH, memory:NAME, tcp://HOST:PORT or tls://HOST:PORT"
    )]
    Scheme {
        /// The address.
        address: String,
        /// What stands before the colon.
        scheme: String,
    },
    /// A bare name has other characters than those allowed.
    #[error(
        "{name:?} is no bus name: use letters, digits, `-`, `_` and `.`, at most {limit} and no `.` first; write `unix:PATH` for a path"
    )]
    Name {
        /// The name.
        name: String,
        /// The most characters.
        limit: usize,
    },
    /// A Unix address has no path, or one with a zero byte.
    #[error("{address:?} has no usable path: write `unix:/path/to/socket`")]
    Path {
        /// The address.
        address: String,
    },
    /// Host or port are missing or wrong.
    #[error(
        "{address:?} does not end in HOST:PORT: write for example `tcp://localhost:7411`, IPv6 numbers in brackets"
    )]
    HostPort {
        /// The address.
        address: String,
    },
}

impl Address {
    /// The address in the environment variable `RINGMAIN_BUS`, or else the bus `default`.
    ///
    /// # Errors
    /// The variable is set, but to no address.
    pub fn from_env() -> Result<Self, AddressError> {
        match std::env::var_os("RINGMAIN_BUS") {
            Some(text) if !text.is_empty() => text.to_string_lossy().parse(),
            _ => Ok(Self::Named("default".into())),
        }
    }

    /// The path of the socket, for those kinds that have one.
    pub fn socket_path(&self) -> Option<PathBuf> {
        match self {
            Self::Named(name) => Some(place::default_directory().join(format!("{name}.sock"))),
            Self::Unix(path) => Some(path.clone()),
            Self::Memory(_) | Self::Tcp { .. } | Self::Tls { .. } => None,
        }
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let address = || text.to_owned();
        if text.is_empty() {
            return Err(AddressError::Empty);
        }
        let Some((scheme, rest)) = text.split_once(':') else {
            return bus_name(text).map(Self::Named);
        };
        match scheme {
            "unix" if rest.is_empty() || rest.contains('\0') => {
                Err(AddressError::Path { address: address() })
            }
            "unix" => Ok(Self::Unix(Path::new(rest).to_owned())),
            "memory" if rest.is_empty() => Err(AddressError::Name {
                name: rest.to_owned(),
                limit: NAME_BYTES,
            }),
            "memory" => Ok(Self::Memory(rest.to_owned())),
            "tcp" | "tls" => {
                let parsed = rest.strip_prefix("//").and_then(host_port);
                let (host, port) =
                    parsed.ok_or_else(|| AddressError::HostPort { address: address() })?;
                Ok(if scheme == "tcp" {
                    Self::Tcp { host, port }
                } else {
                    Self::Tls { host, port }
                })
            }
            _ => Err(AddressError::Scheme {
                address: address(),
                scheme: scheme.to_owned(),
            }),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host_port = |f: &mut fmt::Formatter<'_>, scheme: &str, host: &str, port: u16| {
            let (open, close) = if host.contains(':') {
                ("[", "]")
            } else {
                ("", "")
            };
            write!(f, "{scheme}://{open}{host}{close}:{port}")
        };
        match self {
            Self::Named(name) => f.write_str(name),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Memory(name) => write!(f, "memory:{name}"),
            Self::Tcp { host, port } => host_port(f, "tcp", host, *port),
            Self::Tls { host, port } => host_port(f, "tls", host, *port),
        }
    }
}

fn bus_name(name: &str) -> Result<String, AddressError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if name.len() <= NAME_BYTES && !name.starts_with('.') && name.bytes().all(allowed) {
        Ok(name.to_owned())
    } else {
        Err(AddressError::Name {
            name: name.to_owned(),
            limit: NAME_BYTES,
        })
    }
}

fn host_port(text: &str) -> Option<(String, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let port = port
        .parse()
        .ok()
        .filter(|_| port.bytes().all(|byte| byte.is_ascii_digit()))?;
    let host = match host.strip_prefix('[') {
        Some(number) => number
            .strip_suffix(']')
            .filter(|number| number.contains(':'))?,
        None => Some(host).filter(|host| !host.contains(':'))?,
    };
    (!host.is_empty() && !host.contains(['/', '[', ']'])).then(|| (host.to_owned(), port))
}

const NAME_BYTES: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_written_as_they_are_read() {
        for text in [
            "default",
            "my-bus_2.0",
            "unix:/run/a b/bus.sock",
            "unix:relative",
            "memory:tests",
            "memory:a:b/c",
            "tcp://localhost:7411",
            "tcp://[::1]:1",
            "tls://example.org:65535",
        ] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
        assert_eq!(
            "tcp://[::1]:1".parse(),
            Ok(Address::Tcp {
                host: "::1".into(),
                port: 1
            })
        );
    }

    #[test]
    fn what_is_no_address_is_told_why() {
        let error = |text: &str| text.parse::<Address>().unwrap_err();
        assert_eq!(error(""), AddressError::Empty);
        for name in ["a/b", ".hidden", "..", "ä", "a b", &"x".repeat(65)] {
            assert_eq!(
                error(name),
                AddressError::Name {
                    name: name.into(),
                    limit: 64
                }
            );
        }
        assert!(error("/run/bus.sock").to_string().contains("unix:PATH"));
        assert_eq!(
            error("http://x:1"),
            AddressError::Scheme {
                address: "http://x:1".into(),
                scheme: "http".into()
            }
        );
        assert_eq!(
            error("unix:"),
            AddressError::Path {
                address: "unix:".into()
            }
        );
        for text in [
            "tcp:",
            "tcp:x:1",
            "tcp://x",
            "tcp://:1",
            "tls://x:65536",
            "tls://x:+1",
            "tcp://::1:5",
            "tcp://a/b:1",
        ] {
            assert_eq!(
                error(text),
                AddressError::HostPort {
                    address: text.into()
                }
            );
        }
    }
}
