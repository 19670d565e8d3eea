//! What a program that is run beside the proxy adds to its configuration.
//!
//! Pure.

use super::defaults;
use crate::config::{Listener, Mode, ProxyConfig};
use std::net::{Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

/// Additions of `heddle run`. What a file says stays as it is.
#[derive(Debug, Clone, Default)]
pub struct Beside {
    /// The service that the program is, with the port on which it listens.
    pub service: Option<(String, u16)>,
    /// Where requests for it are accepted, if no listener of the file does.
    pub inbound: Option<SocketAddr>,
    /// Whether it listens on `::1` and not on 127.0.0.1.
    pub on_ipv6: bool,
    /// Where the admin server listens, without a file.
    pub admin: Option<SocketAddr>,
    /// Where the program's own calls are accepted, without a file.
    pub outbound: Option<SocketAddr>,
    /// The folder of the `files` namer, if the file names none.
    pub files: Option<PathBuf>,
}

impl Beside {
    /// Whether it adds the listener in front of the program.
    pub fn adds_inbound(&self, config: &ProxyConfig) -> bool {
        let service = self.service.as_ref();
        service.is_some_and(|(_, port)| inbound_of(config, *port).is_none())
    }

    /// The configuration with the additions.
    pub fn add_to(&self, mut config: ProxyConfig) -> ProxyConfig {
        config.admin = self.admin.unwrap_or(config.admin);
        if let Some(address) = self.outbound {
            change_outbound(&mut config, |listener| listener.listen = address);
        }
        if config.files.is_none() && self.files.is_some() {
            config.files.clone_from(&self.files);
            let (without, with) = (defaults::base_dtab(false), defaults::base_dtab(true));
            change_outbound(&mut config, |listener| {
                if listener.base_dtab == without {
                    listener.base_dtab = with.clone();
                }
            });
        }
        if let (Some((name, port)), Some(listen)) = (&self.service, self.inbound)
            && inbound_of(&config, *port).is_none()
        {
            let taken = config.listeners.iter().any(|l| l.name == *name);
            config.listeners.push(Arc::new(Listener {
                name: if taken {
                    format!("{name}-inbound")
                } else {
                    name.clone()
                },
                listen,
                mode: Mode::Inbound {
                    forward_to: loopback(*port, self.on_ipv6),
                },
                ..defaults::outbound(&config.namespace, false)
            }));
        }
        config
    }
}

/// This host's own address, of either kind.
pub fn loopback(port: u16, ipv6: bool) -> SocketAddr {
    if ipv6 {
        SocketAddr::from((Ipv6Addr::LOCALHOST, port))
    } else {
        defaults::loopback(port)
    }
}

/// The listener in front of what listens on `port`.
pub fn inbound_of(config: &ProxyConfig, port: u16) -> Option<&Arc<Listener>> {
    config.listeners.iter().find(
        |listener| matches!(listener.mode, Mode::Inbound { forward_to } if forward_to.port() == port),
    )
}

fn change_outbound(config: &mut ProxyConfig, change: impl Fn(&mut Listener)) {
    for listener in &mut config.listeners {
        if listener.mode == Mode::Outbound {
            change(Arc::make_mut(listener));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{Source, load};
    use std::io;
    use std::path::Path;

    struct One(&'static str);

    impl Source for One {
        fn read(&self, _: &Path) -> io::Result<Vec<u8>> {
            Ok(self.0.as_bytes().to_vec())
        }
        fn list(&self, _: &Path) -> io::Result<Vec<String>> {
            Ok(Vec::new())
        }
        fn env(&self, _: &str) -> Option<String> {
            None
        }
    }

    fn beside() -> Beside {
        Beside {
            service: Some(("accounts".into(), 9001)),
            inbound: Some(defaults::loopback(4143)),
            files: Some("mesh".into()),
            ..Beside::default()
        }
    }

    #[test]
    fn without_a_file_there_is_all_that_a_mesh_needs() {
        let config = load(None, &One("")).config.unwrap();
        let config = Beside {
            admin: Some(defaults::loopback(1)),
            outbound: Some(defaults::loopback(2)),
            ..beside()
        }
        .add_to(config);
        assert_eq!(config.admin.port(), 1);
        assert_eq!(config.listeners[0].listen.port(), 2);
        assert_eq!(config.listeners[0].base_dtab, defaults::base_dtab(true));
        assert_eq!(config.files.as_deref(), Some(Path::new("mesh")));
        let inbound = inbound_of(&config, 9001).unwrap();
        assert_eq!(
            (inbound.name.as_str(), inbound.listen.port()),
            ("accounts", 4143)
        );
    }

    #[test]
    fn a_program_on_ipv6_is_met_there() {
        let config = load(None, &One("")).config.unwrap();
        let found = Beside {
            on_ipv6: true,
            ..beside()
        };
        assert!(found.adds_inbound(&config));
        let with = found.add_to(config);
        let forward_to = "[::1]:9001".parse().unwrap();
        let inbound = inbound_of(&with, 9001).unwrap();
        assert_eq!(inbound.mode, Mode::Inbound { forward_to });
        assert!(!found.adds_inbound(&with));
    }

    #[test]
    fn what_a_file_says_stays() {
        let text = "listeners:\n  - {name: in, listen: '127.0.0.1:1', mode: inbound, forwardTo: '127.0.0.1:9001'}\n  - {name: accounts, listen: '127.0.0.1:2', dtab: '/svc => /#/dns'}\ndiscovery: {files: {dir: other}}\n";
        let config = load(Some(Path::new("f.yaml")), &One(text)).config.unwrap();
        let with = beside().add_to(config.clone());
        assert_eq!(with.listeners.len(), 2);
        assert_eq!(with.files.as_deref(), Some(Path::new("other")));
        let other = Beside {
            service: Some(("accounts".into(), 9009)),
            ..beside()
        };
        let added = other.add_to(config);
        assert_eq!(inbound_of(&added, 9009).unwrap().name, "accounts-inbound");
        assert_eq!(added.listeners[1].base_dtab.to_string(), "/svc=>/#/dns");
    }
}
