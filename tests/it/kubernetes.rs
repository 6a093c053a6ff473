//! The Kubernetes manifests: their schemas, their excerpts in the documentation, and runs of their commands with the
//! users, capabilities and files that they request.

use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use regex::Regex;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::fixtures::command::{BINARY, STARTED, TcpBounce};
use crate::fixtures::namespace::Namespace;
use crate::fixtures::network::{HOST, connect, switched_as};
use crate::fixtures::process::{Finished, Process, run};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/kubernetes");

/// The manifests in [`FOLDER`].
const MANIFESTS: [&str; 3] = ["responder.yaml", "policies.yaml", "probe.yaml"];

/// The modules of kubernetes-validate, which `scripts/setup` installs.
const VALIDATOR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/.tools/kubernetes-validate");

/// The key in the Secret.
const KEY: &str = "00112233445566778899aabbccddeeff";

/// Validates the YAML documents of standard input, and prints them as JSON.
const VALIDATE: &str = "
import json, sys
import kubernetes_validate, yaml

version = kubernetes_validate.latest_version()
for document in yaml.safe_load_all(sys.stdin):
    kubernetes_validate.validate(document, version, strict=True)
    print(json.dumps(document))
";

/// Runs the binary `$1` in a mount namespace as in a container, with the privileges `$5` to `$8`. The other arguments
/// are those of tcp-bounce.
///
/// The root file system and `/proc/sys` are read-only. `/run` is empty, except for the binary, and for the volume `$2`
/// at the path `$3`. `/etc/hosts` has only the line `$4`.
const CONTAINER: &str = r#"
set -eu
mount -t tmpfs tmpfs /run
touch /run/binary /run/hosts
mkdir -p "$3"
echo "$4" >/run/hosts
mount --bind "$1" /run/binary
mount --bind "$2" "$3"
mount --bind /run/hosts /etc/hosts
mount --bind /proc/sys /proc/sys
for path in / /run "$3" /proc/sys; do
    mount -o remount,bind,ro "$path"
done
mount -t sysfs -o ro sysfs /sys
user=$5 group=$6 bounding_set=$7 groups=$8
shift 8
exec setpriv "$user" "$group" "$groups" "$bounding_set" --inh-caps=-all --ambient-caps=-all --no-new-privs \
    --pdeathsig=keep -- /run/binary "$@"
"#;

/// Parses YAML documents, and validates them against the Kubernetes schemas.
fn validate(yaml: &str) -> Finished {
    assert!(Path::new(VALIDATOR).exists(), "kubernetes-validate is not installed: run scripts/setup test");
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(&file, yaml).unwrap();
    let mut command = Command::new("/usr/bin/python3");
    command.args(["-B", "-c", VALIDATE]).env("PYTHONPATH", VALIDATOR);
    command.stdin(file.reopen().unwrap()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Process::start_as_is(&mut command).finish()
}

/// The documents of all manifests, which are valid.
static DOCUMENTS: LazyLock<Vec<Value>> = LazyLock::new(|| {
    let texts = MANIFESTS.map(|name| fs::read_to_string(format!("{FOLDER}/{name}")).unwrap());
    let json = validate(&texts.join("---\n")).success();
    json.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
});

/// Returns the only document of this kind in the manifests.
fn document(kind: &str) -> &'static Value {
    let mut documents = DOCUMENTS.iter().filter(|document| document["kind"] == kind);
    let document = documents.next().unwrap();
    assert_eq!(documents.next(), None, "there is one {kind}");
    document
}

/// Returns the specification of the only NetworkPolicy that passes ports.
fn network_policy() -> &'static Value {
    let policies = DOCUMENTS.iter().map(|document| &document["spec"]);
    let mut policies = policies.filter(|spec| !spec["ingress"].is_null());
    let policy = policies.next().unwrap();
    assert_eq!(policies.next(), None);
    policy
}

#[test]
fn manifests_match_the_schemas() {
    let kinds: Vec<&str> = DOCUMENTS.iter().map(|document| document["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds[..3], ["Namespace", "Pod", "Service"]);
    assert_eq!(kinds[3..], ["NetworkPolicy", "NetworkPolicy", "ConfigMap", "Job"]);
    assert_eq!(fs::read_dir(FOLDER).unwrap().count(), MANIFESTS.len(), "every file is tested");
}

#[test]
fn validator_finds_unknown_fields_and_wrong_types() {
    let pod = |line: &str| {
        format!("apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\nspec:\n  containers:\n    - name: a\n      {line}\n")
    };
    assert!(validate(&pod("image: a")).status.success());
    for line in ["images: a", "securityContext: {runAsUser: root}"] {
        assert!(!validate(&pod(line)).status.success(), "{line}");
    }
}

#[test]
fn selectors_match_the_labels_of_the_pods() {
    let pod = &document("Pod")["metadata"]["labels"];
    let job = &document("Job")["spec"]["template"]["metadata"]["labels"];
    assert_eq!(&document("Service")["spec"]["selector"], pod);
    assert_eq!(&network_policy()["podSelector"]["matchLabels"], pod);
    assert_eq!(&network_policy()["ingress"][0]["from"][0]["podSelector"]["matchLabels"], job);
}

/// Checks that the blocks of YAML in the documentation are parts of the files. The pages show no other YAML.
#[test]
fn pages_show_parts_of_the_files() {
    let files = MANIFESTS.map(|name| fs::read_to_string(format!("{FOLDER}/{name}")).unwrap());
    let block = Regex::new(r"(?ms)^```yaml\n(.*?)^```").unwrap();
    let mut count = 0;
    for page in ["containers", "network-policies"] {
        let page = fs::read_to_string(format!("docs/recipes/{page}.md")).unwrap();
        for found in block.captures_iter(&page) {
            assert!(files.iter().any(|file| file.contains(&format!("\n{}", &found[1]))), "{}", &found[1]);
            count += 1;
        }
    }
    assert!(count > 0);
}

/// A container with tcp-bounce, as the specification of a pod describes it.
struct Container {
    user: u64,
    group: u64,
    /// The supplementary group, which also owns the files of the volume.
    volume_group: u32,
    /// The added capabilities, without their prefix.
    capabilities: Vec<String>,
    /// The arguments of tcp-bounce.
    arguments: Vec<String>,
    /// The path of the volume with the policy and the key.
    mount_path: String,
    /// The permissions of the files in the volume.
    mode: u32,
}

impl Container {
    /// Reads the container of tcp-bounce in the specification of a pod.
    fn of(pod: &Value) -> Self {
        let containers = pod["containers"].as_array().unwrap();
        let is_tcp_bounce = |container: &&Value| container["image"].as_str().unwrap().contains("/tcp-bounce:");
        let container = containers.iter().find(is_tcp_bounce).unwrap();
        let (context, pod_context) = (&container["securityContext"], &pod["securityContext"]);
        // `CONTAINER` and `command` presume these.
        assert_eq!(context["allowPrivilegeEscalation"], false);
        assert_eq!(context["readOnlyRootFilesystem"], true);
        assert_eq!(context["capabilities"]["drop"], json!(["ALL"]));
        assert!(pod["hostNetwork"].is_null());
        let number = |name: &str| context[name].as_u64().or(pod_context[name].as_u64());
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let texts = |value: &Value| value.as_array().map_or(Vec::new(), |values| values.iter().map(text).collect());
        let volume = &pod["volumes"][0];
        let mode = volume["secret"]["defaultMode"].as_u64().or(volume["projected"]["defaultMode"].as_u64()).unwrap();
        Self {
            user: number("runAsUser").unwrap(),
            group: number("runAsGroup").unwrap_or(0),
            volume_group: number("fsGroup").unwrap_or(0) as u32,
            capabilities: texts(&context["capabilities"]["add"]),
            arguments: texts(&container["args"]),
            mount_path: text(&container["volumeMounts"][0]["mountPath"]),
            mode: mode as u32,
        }
    }

    /// Returns the command of the container in a network namespace. Its volume has these files, each with its text.
    ///
    /// Container runtimes put added capabilities into the bounding set, from which only root gets them.
    fn command(&self, namespace: &Namespace, volume: &TempDir, files: &[(&str, &str)]) -> Command {
        fs::set_permissions(volume.path(), Permissions::from_mode(0o755)).unwrap();
        for (name, text) in files {
            let path = volume.path().join(name);
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(self.mode)).unwrap();
            chown(&path, Some(0), Some(self.volume_group)).unwrap();
        }
        let capabilities = self.capabilities.iter().map(|name| format!(",+{}", name.to_lowercase()));
        let bounding_set = format!("--bounding-set=-all{}", capabilities.collect::<String>());
        let mut command = namespace.command("unshare");
        command.args(["--mount", "--", "sh", "-c", CONTAINER, "sh", BINARY]).arg(volume.path());
        command.args([&self.mount_path, &format!("{HOST} web")]);
        command.args([format!("--reuid={}", self.user), format!("--regid={}", self.group), bounding_set]);
        command.arg(format!("--groups={}", self.volume_group)).args(&self.arguments);
        command
    }
}

/// A pod with tcp-bounce and a client, and a bridge between them. Its firewall stands for the NetworkPolicies.
struct Cluster {
    firewall: Namespace,
    pod: Namespace,
    client: Namespace,
    /// The volume of the pod.
    volume: TempDir,
}

impl Cluster {
    fn new() -> Self {
        let [firewall, pod, client] = switched_as([("eth0", "pod0"), ("eth0", "client0")]);
        pod.sysctl("ipv6/conf/eth0/disable_ipv6", "1");
        firewall.run("nft", "add table bridge policies");
        firewall.run("nft", "add chain bridge policies forward { type filter hook forward priority 0 ; }");
        Self { firewall, pod, client, volume: tempfile::tempdir().unwrap() }
    }

    /// Starts the container of tcp-bounce in the pod.
    #[track_caller]
    fn start_responder(&self, container: &Container) -> TcpBounce {
        let process = Process::start(&mut container.command(&self.pod, &self.volume, &[("key", KEY)]));
        process.wait_for(STARTED);
        TcpBounce(process)
    }

    /// Lets the firewall pass only these ports to the pod.
    fn pass(&self, ports: &str) {
        self.firewall.run("nft", "flush chain bridge policies forward");
        let rule = format!("iifname client0 tcp dport != {{ {ports} }} drop");
        self.firewall.run("nft", &format!("add rule bridge policies forward {rule}"));
    }
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn pod_answers_with_the_capabilities_of_its_manifest() {
    let pod = &document("Pod")["spec"];
    let cluster = Cluster::new();
    let responder = cluster.start_responder(&Container::of(pod));
    let status = fs::read_to_string(format!("/proc/{}/status", responder.0.child.id())).unwrap();
    for line in ["Uid:\t65534\t65534\t65534\t65534\n", "CapPrm:\t0000000000000000\n", "NoNewPrivs:\t1\n"] {
        assert!(status.contains(line), "{line} {status}");
    }
    let probed = &pod["containers"][1]["startupProbe"]["tcpSocket"]["port"];
    let port = probed.as_u64().unwrap() as u16;
    cluster.client.enter(|| connect(HOST, port)).unwrap();
    assert!(!responder.0.stdout.text().contains("warning: "), "{}", responder.0.stdout.text());
    assert_eq!(responder.interrupt().count("SYNs answered"), 1);
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn pod_answers_as_root_without_setuid_and_setgid() {
    let mut container = Container::of(&document("Pod")["spec"]);
    container.capabilities.retain(|name| !["SETUID", "SETGID"].contains(&name.as_str()));
    assert_eq!(container.capabilities, ["BPF", "NET_ADMIN", "PERFMON"]);
    let cluster = Cluster::new();
    let responder = cluster.start_responder(&container);
    responder.0.wait_for("warning: the process keeps running as root");
    let status = fs::read_to_string(format!("/proc/{}/status", responder.0.child.id())).unwrap();
    assert!(status.contains("Uid:\t0\t0\t0\t0\n") && status.contains("CapPrm:\t0000000000000000\n"), "{status}");
    cluster.client.enter(|| connect(HOST, 80)).unwrap();
}

/// Checks that tcp-bounce answers before the tc filters of the pod's interface, where a CNI plugin may enforce
/// policies.
#[test]
#[ignore = "needs root: makes network namespaces"]
fn pod_answers_although_its_own_tc_filters_drop_ipv4() {
    let cluster = Cluster::new();
    let _responder = cluster.start_responder(&Container::of(&document("Pod")["spec"]));
    cluster.pod.run("tc", "qdisc add dev eth0 clsact");
    for direction in ["ingress", "egress"] {
        // The classic BPF program returns 2, `TC_ACT_SHOT`.
        let filter = format!("filter add dev eth0 {direction} protocol ip bpf direct-action bytecode");
        run(cluster.pod.command("tc").args(filter.split(' ')).arg("1,6 0 0 2,")).success();
    }
    assert!(!run(cluster.client.command("ping").args(["-c", "1", "-W", "1", &HOST.to_string()])).status.success());
    cluster.client.enter(|| connect(HOST, 80)).unwrap();
}

/// Returns the ports that the NetworkPolicies pass to the pod, as nftables writes them.
fn passed_ports() -> Vec<String> {
    let ports = network_policy()["ingress"][0]["ports"].as_array().unwrap().iter();
    let range = |port: &Value| match port["endPort"].as_u64() {
        Some(last) => format!("{}-{last}", port["port"]),
        None => port["port"].to_string(),
    };
    ports.map(range).collect()
}

/// Runs the Job, and returns its exit status and the messages of failed test cases.
fn run_job(cluster: &Cluster) -> (Option<i32>, Vec<String>) {
    let job = &document("Job")["spec"]["template"]["spec"];
    assert_eq!(job["securityContext"]["runAsNonRoot"], true);
    let mut container = Container::of(job);
    assert!(container.user != 0 && container.capabilities.is_empty());
    // Makes the test faster.
    container.arguments.extend(["--ports=8000-9999", "--timeout=300ms"].map(str::to_owned));
    let policy = document("ConfigMap")["data"]["policy.toml"].as_str().unwrap();
    let volume = tempfile::tempdir().unwrap();
    let finished = run(&mut container.command(&cluster.client, &volume, &[("policy.toml", policy), ("key", KEY)]));
    assert_eq!(finished.stderr, "");
    let case = Regex::new(r#"name="(ports? [^"]*)">\s*<failure type="difference" message="([^"]*)""#).unwrap();
    let failures = case.captures_iter(&finished.stdout).map(|case| format!("{}: {}", &case[1], &case[2]));
    (finished.status.code(), failures.collect())
}

/// Checks the command of the Job, with a server of the pod on the first passed port.
#[test]
#[ignore = "needs root: makes network namespaces"]
fn job_fails_unless_the_intended_ports_are_open() {
    let cluster = Cluster::new();
    let pod = &document("Pod")["spec"];
    let port = pod["containers"][0]["ports"][0]["containerPort"].as_u64().unwrap() as u16;
    let _server = cluster.pod.enter(|| TcpListener::bind((HOST, port))).unwrap();
    let _responder = cluster.start_responder(&Container::of(pod));
    let intended = passed_ports().join(",");
    cluster.pass(&intended);
    assert_eq!(run_job(&cluster), (Some(0), vec![]));
    cluster.pass(&format!("{intended},9011-9012"));
    let open = "ports 9011-9012: expected closed, but open: tcp-bounce, reached from 192.0.2.2".to_owned();
    assert_eq!(run_job(&cluster), (Some(3), vec![open]));
    cluster.pass("8080,9000");
    assert_eq!(run_job(&cluster), (Some(3), vec!["ports 9001-9010: expected open, but filtered".to_owned()]));
}
