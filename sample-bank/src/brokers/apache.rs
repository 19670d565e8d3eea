//! Apache Kafka in KRaft mode, from the jars that `sample-bank/kafka/pom.xml` names, on Java 17 or later.

use super::{Process, free_ports};
use crate::Failure;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The variable that names the folder of the jars.
pub const JARS: &str = "HEDDLE_BANK_KAFKA";

/// A broker of a machine that is busy with a build needs this long at worst.
const START: Duration = Duration::from_secs(120);
/// Small brokers: what they serve here is small. The compiler's second stage would cost more than it brings.
const JAVA: [&str; 5] = [
    "-Xms64m",
    "-Xmx320m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Dcom.sun.management.jmxremote=false",
];

/// One to three brokers that are controllers as well, and brokers that join later.
#[derive(Debug)]
pub struct Cluster {
    folder: PathBuf,
    jars: PathBuf,
    voters: String,
    id: String,
    nodes: Vec<Node>,
}

#[derive(Debug)]
struct Node {
    port: u16,
    process: Option<Process>,
}

impl Cluster {
    /// Where the jars are: what `HEDDLE_BANK_KAFKA` names, else where Maven puts them in the source.
    pub fn jars() -> Option<PathBuf> {
        let named = std::env::var_os(JARS).map(PathBuf::from);
        let folder =
            named.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("kafka/target/lib"));
        folder.is_dir().then_some(folder)
    }

    /// Formats and starts so many brokers, with their records in `folder`; returns when all of them are in the cluster.
    ///
    /// # Errors
    ///
    /// There are no jars, no Java, or a broker does not start.
    pub fn start(folder: &Path, brokers: usize) -> Result<Self, Failure> {
        let jars = Self::jars().ok_or_else(|| {
            Failure::new(format!(
                "there are no jars of Apache Kafka: run `mvn -q -f sample-bank/kafka/pom.xml package`, or name their folder in {JARS}"
            ))
        })?;
        let no_port = |e| Failure::new(format!("no free port for a broker: {e}"));
        let ports = free_ports(2 * brokers).map_err(no_port)?;
        let (ports, controllers) = ports.split_at(brokers);
        let voters = controllers.iter().enumerate();
        let voters: Vec<String> = voters
            .map(|(i, port)| format!("{}@127.0.0.1:{port}", i + 1))
            .collect();
        let mut cluster = Self {
            folder: folder.to_owned(),
            jars,
            voters: voters.join(","),
            id: "aGVkZGxlLWJhbmstMDAwMQ".to_owned(), // 16 bytes in base64, as the format wants it
            nodes: Vec::new(),
        };
        for (port, controller) in ports.iter().zip(controllers) {
            cluster.add(*port, Some(*controller), brokers)?;
        }
        cluster.format_all()?;
        for node in 0..brokers {
            cluster.restart(node + 1)?;
        }
        cluster.wait(brokers)?;
        Ok(cluster)
    }

    /// The addresses of all brokers, also of those that are down.
    pub fn bootstrap(&self) -> String {
        let addresses = self
            .nodes
            .iter()
            .map(|node| format!("127.0.0.1:{}", node.port));
        addresses.collect::<Vec<_>>().join(",")
    }

    /// Kills a broker, as `kill -9` does. They count from 1.
    pub fn kill(&mut self, node: usize) {
        if let Some(mut process) = self.nodes[node - 1].process.take() {
            process.kill();
        }
    }

    /// Starts a broker that was killed.
    ///
    /// # Errors
    ///
    /// Java cannot be started.
    pub fn restart(&mut self, node: usize) -> Result<(), Failure> {
        let mut command = self.java("kafka.Kafka");
        command.arg(self.file(node));
        self.nodes[node - 1].process = Some(Process::start(&mut command)?);
        Ok(())
    }

    /// One more broker joins; it controls nothing. Returns its number when it is in the cluster.
    ///
    /// # Errors
    ///
    /// It does not start.
    pub fn join(&mut self) -> Result<usize, Failure> {
        let port =
            free_ports(1).map_err(|e| Failure::new(format!("no free port for a broker: {e}")))?;
        let node = self.nodes.len() + 1;
        self.add(port[0], None, node - 1)?;
        self.format(node)?.wait_for("format a broker's folder")?;
        self.restart(node)?;
        let alive = self
            .nodes
            .iter()
            .filter(|node| node.process.is_some())
            .count();
        self.wait(alive)?;
        Ok(node)
    }

    /// Moves partitions of a topic to other brokers while it is in use; returns when they are there.
    ///
    /// # Errors
    ///
    /// The cluster refuses, or takes longer than two minutes.
    pub fn reassign(&self, topic: &str, to: &[(i32, Vec<usize>)]) -> Result<(), Failure> {
        let partitions = to.iter().map(|(partition, replicas)| {
            serde_json::json!({"topic": topic, "partition": partition, "replicas": replicas})
        });
        let plan = serde_json::json!({"version": 1, "partitions": partitions.collect::<Vec<_>>()});
        let file = self.folder.join("reassignment.json");
        write(&file, &plan.to_string())?;
        self.reassignment(&file, "--execute")?;
        let until = Instant::now() + START;
        while Instant::now() < until {
            let said = self.reassignment(&file, "--verify")?;
            if !said.contains("still in progress") {
                return Ok(());
            }
        }
        Err(Failure::new(format!(
            "partitions of {topic} are still on their way after {START:?}"
        )))
    }

    fn reassignment(&self, file: &Path, action: &str) -> Result<String, Failure> {
        let mut command = self.java("org.apache.kafka.tools.reassign.ReassignPartitionsCommand");
        command.args([
            "--bootstrap-server",
            &self.bootstrap(),
            action,
            "--reassignment-json-file",
        ]);
        let output = command.arg(file).stdout(Stdio::piped()).output();
        let output = output.map_err(|e| Failure::new(format!("cannot start java: {e}")))?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() {
            return Ok(said);
        }
        Err(Failure::new(format!("partitions cannot be moved: {said}")))
    }

    fn add(&mut self, port: u16, controller: Option<u16>, brokers: usize) -> Result<(), Failure> {
        let node = self.nodes.len() + 1;
        self.nodes.push(Node {
            port,
            process: None,
        });
        let made = std::fs::create_dir_all(&self.folder);
        made.map_err(|e| Failure::new(format!("cannot make {}: {e}", self.folder.display())))?;
        write(
            &self.file(node),
            &self.properties(node, port, controller, brokers),
        )
    }

    fn properties(
        &self,
        node: usize,
        port: u16,
        controller: Option<u16>,
        brokers: usize,
    ) -> String {
        let copies = brokers.min(3);
        let (roles, also) = controller.map_or(("broker", String::new()), |port| {
            (
                "broker,controller",
                format!(",CONTROLLER://127.0.0.1:{port}"),
            )
        });
        let logs = self.folder.join(format!("broker-{node}"));
        let lines = [
            format!("node.id={node}"),
            format!("process.roles={roles}"),
            format!("controller.quorum.voters={}", self.voters),
            format!("listeners=PLAINTEXT://127.0.0.1:{port}{also}"),
            format!("advertised.listeners=PLAINTEXT://127.0.0.1:{port}"),
            "controller.listener.names=CONTROLLER".to_owned(),
            "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT".to_owned(),
            "inter.broker.listener.name=PLAINTEXT".to_owned(),
            format!("log.dirs={}", logs.display()),
            format!("offsets.topic.replication.factor={copies}"),
            "offsets.topic.num.partitions=3".to_owned(),
            format!("transaction.state.log.replication.factor={copies}"),
            "transaction.state.log.min.isr=1".to_owned(),
            format!("share.coordinator.state.topic.replication.factor={copies}"),
            "share.coordinator.state.topic.min.isr=1".to_owned(),
            "auto.create.topics.enable=false".to_owned(),
            "group.initial.rebalance.delay.ms=0".to_owned(),
            // `BANK_QUEUE_SESSION` decides.
            "group.min.session.timeout.ms=1000".to_owned(),
            "num.network.threads=2".to_owned(),
            "num.io.threads=2".to_owned(),
            "log.cleaner.dedupe.buffer.size=8388608".to_owned(),
            // A broker that dies is noticed after six seconds.
            "broker.heartbeat.interval.ms=1000".to_owned(),
            "broker.session.timeout.ms=6000".to_owned(),
        ];
        lines.join("\n") + "\n"
    }

    fn file(&self, node: usize) -> PathBuf {
        self.folder.join(format!("broker-{node}.properties"))
    }

    fn format(&self, node: usize) -> Result<Formatting, Failure> {
        let mut command = self.java("kafka.tools.StorageTool");
        command.args(["format", "--ignore-formatted", "-t", &self.id, "-c"]);
        Process::start(command.arg(self.file(node))).map(Formatting)
    }

    fn format_all(&self) -> Result<(), Failure> {
        let nodes = 1..=self.nodes.len();
        let running: Vec<Formatting> = nodes
            .map(|node| self.format(node))
            .collect::<Result<_, _>>()?;
        running
            .into_iter()
            .try_for_each(|one| one.wait_for("format a broker's folder"))
    }

    fn java(&self, class: &str) -> Command {
        let mut command = Command::new("java");
        command
            .args(JAVA)
            .arg("-cp")
            .arg(self.jars.join("*"))
            .arg(class)
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        command
    }

    /// Waits until so many brokers are in the cluster.
    fn wait(&self, brokers: usize) -> Result<(), Failure> {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", self.bootstrap())
            .set("broker.address.family", "v4");
        let asking: BaseConsumer = config
            .create()
            .map_err(|e| Failure::new(format!("no client: {e}")))?;
        let until = Instant::now() + START;
        while Instant::now() < until {
            let metadata = asking.fetch_metadata(None, Duration::from_secs(1));
            if metadata.is_ok_and(|metadata| metadata.brokers().len() >= brokers) {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Err(Failure::new(format!(
            "{brokers} brokers of Apache Kafka are not there after {START:?}; what they printed says why"
        )))
    }
}

/// A storage tool at work.
struct Formatting(Process);

impl Formatting {
    fn wait_for(mut self, what: &str) -> Result<(), Failure> {
        let ended = self.0.child.wait();
        match ended {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(Failure::new(format!(
                "cannot {what}: java ended with {status}"
            ))),
            Err(error) => Err(Failure::new(format!("cannot {what}: {error}"))),
        }
    }
}

fn write(file: &Path, text: &str) -> Result<(), Failure> {
    let written = std::fs::write(file, text);
    written.map_err(|e| Failure::new(format!("cannot write {}: {e}", file.display())))
}
