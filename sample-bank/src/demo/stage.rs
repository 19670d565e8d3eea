//! What the demo plays on: a state folder, a broker, the proxies, and every replica, started in order and ended in reverse.

use super::cast::{Casting, Role, Runtime, SUBSCRIPTIONS, casting, fail_points};
use super::mesh::{Doors, Mesh, Place};
use super::ports::Ports;
use super::process::{Recipe, Watched, memory, memory_with_children};
use super::sources::Sources;
use super::{Options, Topology};
use crate::brokers::Cluster;
use crate::ids;
use crate::{Failure, say};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Tries of a delivery before its event is parked: longer than any restart that the demo makes.
const ATTEMPTS: u32 = 60;
/// How long the mesh has to know every replica.
pub(super) const SETTLE: Duration = Duration::from_secs(60);

/// Everything that runs.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) state: PathBuf,
    /// A folder of our own, removed at the end.
    temporary: bool,
    pub(super) doors: Doors,
    pub(super) topology: Topology,
    pub(super) kafka: String,
    /// Brokers of Apache Kafka, killed when the stage is gone.
    pub(super) cluster: Option<Cluster>,
    pub(super) casting: Casting,
    pub(super) ports: Ports,
    /// In the order of their start.
    pub(super) infrastructure: Vec<Watched>,
    pub(super) replicas: Vec<(Place, Watched)>,
    /// For addresses.
    http: reqwest::Client,
    /// For names.
    named: reqwest::Client,
}

impl Stage {
    /// An empty stage: folder and ports.
    ///
    /// # Errors
    ///
    /// The folder cannot be made.
    pub(super) fn new(options: &Options) -> Result<Self, Failure> {
        let temporary = options.state.is_none();
        let state = match options.state.clone() {
            Some(state) => state,
            // Only its owner can enter it: it has the customers' secrets.
            None => tempfile::Builder::new()
                .prefix("heddle-bank-")
                .tempdir()
                .map_err(|e| Failure::new(format!("cannot make a temporary folder: {e}")))?
                .keep(),
        };
        let made = fs::create_dir_all(state.join("logs")).and_then(|()| fs::canonicalize(&state));
        let state =
            made.map_err(|e| Failure::new(format!("cannot make {}: {e}", state.display())))?;
        let mut ports = Ports::new();
        let doors = Doors {
            public: ports.wanted(options.port, "the bank")?,
            outbound: ports.wanted(options.proxy_port, "the proxy")?,
            admin: ports.wanted(options.admin_port, "the mesh's page")?,
        };
        Ok(Self {
            state,
            temporary,
            doors,
            topology: options.topology,
            kafka: String::new(),
            cluster: None,
            casting: casting(in_path),
            ports,
            infrastructure: Vec::new(),
            replicas: Vec::new(),
            http: client(None)?,
            named: client(Some(&format!("http://127.0.0.1:{}", doors.outbound)))?,
        })
    }

    /// Starts everything, and waits until all of it answers.
    ///
    /// # Errors
    ///
    /// Something did not start; the reason names it.
    pub(super) async fn set_up(&mut self, options: &Options) -> Result<(), Failure> {
        let heddle = beside("HEDDLE_BIN", "heddle")?;
        let sources = self.build().await?;
        self.start_broker(options).await?;
        let mesh = Mesh::write(&self.state, &self.casting)?;
        let places = self.places()?;
        let in_front: &[Place] = match self.topology {
            Topology::Host => &places,
            Topology::Sidecar => &[],
        };
        let file = mesh.host(self.doors, in_front, &self.casting.roles)?;
        let proxy = self.start(Recipe {
            name: "proxy".to_owned(),
            program: heddle.clone(),
            arguments: ["proxy", "-c"]
                .map(str::to_owned)
                .into_iter()
                .chain([shown(&file)])
                .collect(),
            environment: Vec::new(),
            log: self.log("proxy"),
        })?;
        proxy
            .ready(
                &self.http,
                &format!("http://127.0.0.1:{}/ready", self.doors.admin),
            )
            .await?;
        self.infrastructure.push(proxy);
        self.write_description(&places)?;
        let bank = std::env::current_exe().map_err(|e| Failure::new(format!("where am I: {e}")))?;
        let key = self.token_key()?;
        say(format_args!(
            "starting {} replicas of {} services",
            places.len(),
            self.services().len()
        ));
        for place in places {
            let (program, arguments) = sources.command(place.role, &bank);
            let mut environment = self.environment(&place, &key, options);
            environment.push(("BANK_MERCHANTS".to_owned(), shown(&sources.shops())));
            let recipe = Recipe {
                name: place.name.clone(),
                program,
                arguments,
                environment,
                log: self.log(&place.name),
            };
            let recipe = match self.topology {
                Topology::Host => recipe,
                Topology::Sidecar => self.with_proxy(recipe, &place, &mesh, &heddle)?,
            };
            let started = self.start(recipe)?;
            self.replicas.push((place, started));
        }
        self.wait_for_replicas().await?;
        self.subscribe().await
    }

    /// Builds the services that need a compiler. What cannot be built is left out like what has no runtime.
    async fn build(&mut self) -> Result<Sources, Failure> {
        let (sources, broken) = Sources::build(&self.state, &self.casting.roles).await?;
        if !broken.is_empty() {
            let tools = |runtime: &Runtime| runtime.needs().iter().map(|(tool, _)| *tool);
            let without: Vec<&str> = broken
                .iter()
                .flat_map(|(runtime, _)| tools(runtime))
                .collect();
            self.casting = casting(|tool| !without.contains(&tool) && in_path(tool));
            self.casting.left_out = broken.into_iter().map(|(_, why)| why).collect();
        }
        for reason in &self.casting.left_out {
            say(reason);
        }
        for service in &self.casting.nobody {
            say(format_args!(
                "{service} is not played at all: its events wait in the queue"
            ));
        }
        Ok(sources)
    }

    async fn wait_for_replicas(&self) -> Result<(), Failure> {
        for (place, replica) in &self.replicas {
            replica
                .ready(
                    &self.http,
                    &format!("http://127.0.0.1:{}/ready", place.port),
                )
                .await?;
        }
        // And by name, since that is how they find each other.
        for service in self.services() {
            let deadline = Instant::now() + SETTLE;
            while let Err(why) = self
                .ask("GET", &format!("http://{service}/ready"), None)
                .await
            {
                if Instant::now() > deadline {
                    return Err(Failure::new(format!(
                        "the mesh does not reach {service} within {} s: {why}",
                        SETTLE.as_secs()
                    )));
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        Ok(())
    }

    /// Services of which somebody plays.
    pub(super) fn services(&self) -> Vec<&'static str> {
        let mut services: Vec<_> = self.casting.roles.iter().map(|role| role.service).collect();
        services.dedup();
        services
    }

    async fn subscribe(&self) -> Result<(), Failure> {
        for (service, topic) in SUBSCRIPTIONS {
            let body = json!({
                "topic": topic, "to": format!("http://{service}/events"), "attempts": ATTEMPTS,
            });
            let url = format!("http://queue/subscriptions/{service}");
            self.persist("PUT", &url, &body).await?;
        }
        Ok(())
    }

    /// Asks until it is done: what is just starting may not be able to yet.
    pub(super) async fn persist(
        &self,
        method: &str,
        url: &str,
        body: &Value,
    ) -> Result<Value, Failure> {
        let deadline = Instant::now() + SETTLE;
        loop {
            match self.ask(method, url, Some(body)).await {
                Ok(answer) => return Ok(answer),
                Err(failure) if Instant::now() > deadline => return Err(failure),
                Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
            }
        }
    }

    /// Asks by name, as services do. A key goes along, so that asking again does nothing twice.
    pub(super) async fn ask(
        &self,
        method: &str,
        url: &str,
        body: Option<&Value>,
    ) -> Result<Value, Failure> {
        let told = |why: String| Failure::new(format!("{method} {url}: {why}"));
        let method = method
            .parse()
            .map_err(|_| told("no such method".to_owned()))?;
        let mut request = self.named.request(method, url);
        if let Some(body) = body {
            let key = ids::fingerprint(&[url, &body.to_string()]);
            request = request.header("idempotency-key", key).json(body);
        }
        let answer = request.send().await.map_err(|e| told(e.to_string()))?;
        let status = answer.status();
        let text = answer.text().await.map_err(|e| told(e.to_string()))?;
        if !status.is_success() {
            return Err(told(format!("{status} {text}")));
        }
        Ok(serde_json::from_str(&text).unwrap_or(Value::Null))
    }

    fn environment(&self, place: &Place, key: &str, options: &Options) -> Vec<(String, String)> {
        let mut environment = vec![
            ("PORT", place.port.to_string()),
            ("BANK_STATE", shown(&self.state)),
            ("BANK_VERSION", place.role.version.to_owned()),
            ("BANK_KAFKA", self.kafka.clone()),
            ("BANK_TOKEN_KEY", key.to_owned()),
            (
                "BANK_FAIL_POINTS",
                fail_points(&options.fail_points, place.role.service),
            ),
        ];
        if self.topology == Topology::Host {
            environment.push((
                "http_proxy",
                format!("http://127.0.0.1:{}", self.doors.outbound),
            ));
            environment.push(("no_proxy", "127.0.0.1,localhost".to_owned()));
        }
        if place.role.runtime == Runtime::Go {
            environment.push(("GOMEMLIMIT", "24MiB".to_owned()));
        }
        environment
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect()
    }

    fn with_proxy(
        &mut self,
        recipe: Recipe,
        place: &Place,
        mesh: &Mesh,
        heddle: &Path,
    ) -> Result<Recipe, Failure> {
        let file = mesh.beside(place, self.ports.any()?)?;
        let mut arguments: Vec<String> = vec![
            "run".to_owned(),
            "--service".to_owned(),
            place.role.set(),
            "--port".to_owned(),
            place.port.to_string(),
            "-c".to_owned(),
            shown(&file),
            "--announce".to_owned(),
            shown(&mesh.announced()),
            "--".to_owned(),
            shown(&recipe.program),
        ];
        arguments.extend(recipe.arguments);
        Ok(Recipe {
            program: heddle.to_path_buf(),
            arguments,
            ..recipe
        })
    }

    fn places(&mut self) -> Result<Vec<Place>, Failure> {
        let mut places = Vec::new();
        for role in self.casting.roles.clone() {
            for number in 1..=role.replicas {
                places.push(Place {
                    role,
                    name: name_of(role, number),
                    port: self.ports.any()?,
                    door: self.ports.any()?,
                    admin: match self.topology {
                        Topology::Host => 0,
                        Topology::Sidecar => self.ports.any()?,
                    },
                });
            }
        }
        Ok(places)
    }

    pub(super) fn start(&self, recipe: Recipe) -> Result<Watched, Failure> {
        Watched::start(recipe)
    }

    pub(super) fn log(&self, name: &str) -> PathBuf {
        self.state.join("logs").join(format!("{name}.log"))
    }

    /// The key of the gateway's tokens, kept with the state so that tokens outlive a restart.
    fn token_key(&self) -> Result<String, Failure> {
        let file = self.state.join("token.key");
        if let Ok(key) = fs::read_to_string(&file) {
            return Ok(key.trim().to_owned());
        }
        let key = ids::fingerprint(&[&ids::fresh(""), &ids::fresh("")]);
        fs::write(&file, &key)
            .map_err(|e| Failure::new(format!("cannot write {}: {e}", file.display())))?;
        Ok(key)
    }

    /// Where everything is, for `load`, `audit` and people.
    fn write_description(&self, places: &[Place]) -> Result<(), Failure> {
        let file = self.state.join("bank.json");
        let page = |port: u16| format!("http://127.0.0.1:{port}");
        let beside = places.iter().map(|place| place.admin);
        let beside: Vec<_> = beside.filter(|port| *port != 0).map(page).collect();
        let text = json!({
            "gateway": format!("http://127.0.0.1:{}", self.doors.public),
            "proxy": format!("http://127.0.0.1:{}", self.doors.outbound),
            "admin": page(self.doors.admin),
            "beside": beside,
            "kafka": self.kafka,
            "replicas": places
                .iter()
                .map(|place| (place.port.to_string(), place.role.service))
                .collect::<std::collections::BTreeMap<_, _>>(),
        });
        fs::write(&file, format!("{text:#}\n"))
            .map_err(|e| Failure::new(format!("cannot write {}: {e}", file.display())))
    }

    /// Memory in bytes: of this process and all that it started, and of the largest proxy.
    pub(super) fn memory(&self) -> (u64, u64) {
        let host = self.infrastructure.iter();
        let host = host.filter(|one| one.recipe.name == "proxy");
        let beside = self.replicas.iter().map(|(_, one)| one);
        let beside = beside.filter(|_| self.topology == Topology::Sidecar);
        let proxies = host.chain(beside).map(|proxy| memory(proxy.id()));
        (
            memory_with_children(std::process::id()),
            proxies.max().unwrap_or(0),
        )
    }

    /// Ends everything, those who ask before those who are asked.
    pub(super) async fn end(self, well: bool) {
        let replicas = self.replicas.into_iter().rev().map(|(_, one)| one);
        // Together, since each may take its time: names in flight still resolve, the proxy ends after them.
        let ending: Vec<_> = replicas.map(|one| tokio::spawn(one.end())).collect();
        for one in ending {
            drop(one.await);
        }
        for one in self.infrastructure.into_iter().rev() {
            one.end().await;
        }
        drop(self.cluster);
        if self.temporary && well {
            // What is left of it lies in the system's temporary folder and does no harm.
            drop(fs::remove_dir_all(&self.state));
        } else {
            say(format_args!("kept in {}", self.state.display()));
        }
    }
}

fn name_of(role: Role, number: usize) -> String {
    format!("{}-{number}", role.set())
}

pub(super) fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// Whether a program is in `PATH`.
fn in_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// A program of the project: what `variable` names, else beside this one, else in `PATH`.
pub(super) fn beside(variable: &str, name: &str) -> Result<PathBuf, Failure> {
    if let Some(given) = std::env::var_os(variable) {
        let given = PathBuf::from(given);
        return fs::canonicalize(&given)
            .map_err(|e| Failure::new(format!("{variable} is {}: {e}", given.display())));
    }
    let own = std::env::current_exe().ok();
    match own
        .map(|own| own.with_file_name(name))
        .filter(|file| file.is_file())
    {
        Some(found) => Ok(found),
        None if in_path(name) => Ok(name.into()),
        None => Err(Failure::new(format!(
            "there is no {name}: build it (`make demo` does), or name it in {variable}"
        ))),
    }
}

fn client(proxy: Option<&str>) -> Result<reqwest::Client, Failure> {
    let mut builder = reqwest::Client::builder()
        .no_proxy()
        .timeout(Duration::from_secs(10));
    let failed = |e: reqwest::Error| Failure::new(format!("cannot make a client: {e}"));
    if let Some(proxy) = proxy {
        builder = builder.proxy(reqwest::Proxy::http(proxy).map_err(failed)?);
    }
    builder.build().map_err(failed)
}
