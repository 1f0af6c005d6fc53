//! The servers that the fan-out is compared with: pollbench's floor, and nginx with nchan.

use std::{env, fs, path::PathBuf, process::Command};

use anyhow::ensure;
use rustix::process::{Resource, getrlimit};

use crate::{
    Bench, Settings,
    process::{self, Process},
    server::{free_port, wait_for_port},
};

/// The programs that are installed.
pub(crate) struct Peers {
    /// pollbench, which measures and contains the floor.
    pub(crate) pollbench: PathBuf,
    /// nginx and its module nchan, if both are installed.
    pub(crate) nchan: Option<(PathBuf, PathBuf)>,
}

impl Peers {
    /// Finds the programs, and builds pollbench from its source if needed. None without pollbench.
    pub(crate) fn find(bench: &Bench) -> anyhow::Result<Option<Self>> {
        let Settings { pollbench, nginx_binary, nchan_module, .. } = &bench.settings;
        let source = pollbench.clone().unwrap_or_else(|| bench.root.join("../shared/pollbench"));
        let pollbench = if source.is_file() {
            source
        } else if source.join("Cargo.toml").is_file() {
            // Build outside the source folder, which may not be writable.
            let target = bench.root.join(".data/pollbench");
            let mut cargo = Command::new("cargo");
            cargo.args(["build", "--release", "--quiet", "--manifest-path"]).arg(source.join("Cargo.toml"));
            let built = cargo.arg("--target-dir").arg(&target).status()?;
            ensure!(built.success(), "pollbench did not build");
            target.join("release/pollbench")
        } else {
            eprintln!("warning: no pollbench at {}: nothing to compare with", source.display());
            return Ok(None);
        };
        let nginx = nginx_binary.clone().or_else(|| find_program("nginx"));
        let nchan = nginx.filter(|_| nchan_module.is_file()).map(|nginx| (nginx, nchan_module.clone()));
        if nchan.is_none() {
            eprintln!("warning: no nginx with nchan: this comparison is left out");
        }
        Ok(Some(Self { pollbench, nchan }))
    }

    /// Starts the floor. Returns its process and its URL.
    pub(crate) fn start_floor(&self, bench: &Bench) -> anyhow::Result<(Process, String)> {
        let port = free_port()?;
        let log = || process::append(&bench.work.join("floor.log"));
        let mut floor = process::command(&self.pollbench);
        floor.args(["floor", "--port", &port.to_string()]).stdout(log()?).stderr(log()?);
        started(&mut floor, port)
    }
}

/// Starts nginx with nchan. Returns its process and its URL.
pub(crate) fn start_nchan(bench: &Bench, (nginx, module): &(PathBuf, PathBuf)) -> anyhow::Result<(Process, String)> {
    let port = free_port()?;
    let folder = bench.work.join("nginx");
    fs::create_dir_all(&folder)?;
    let files = getrlimit(Resource::Nofile).current.unwrap_or(1_048_576);
    let (module, at, connections) = (module.display(), folder.display(), files.saturating_sub(30));
    let configuration = format!(
        r"load_module {module};
daemon off;
worker_processes 1;
worker_rlimit_nofile {files};
pid {at}/nginx.pid;
error_log {at}/error.log warn;
events {{ worker_connections {connections}; }}
http {{
    access_log off;
    client_body_temp_path {at}/body; proxy_temp_path {at}/proxy; fastcgi_temp_path {at}/fastcgi;
    uwsgi_temp_path {at}/uwsgi; scgi_temp_path {at}/scgi;
    keepalive_timeout 600; keepalive_requests 1000000;
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location ~ ^/pub/(\w+)$ {{ nchan_publisher; nchan_channel_id $1; nchan_message_buffer_length 100; }}
        location ~ ^/sub/(\w+)$ {{ nchan_subscriber longpoll; nchan_channel_id $1; nchan_subscriber_first_message newest; }}
    }}
}}
"
    );
    let file = folder.join("nginx.conf");
    fs::write(&file, configuration)?;
    let log = || process::append(&folder.join("log"));
    let mut command = process::command(nginx);
    command.arg("-p").arg(&folder).arg("-c").arg(file).stdout(log()?).stderr(log()?);
    started(&mut command, port)
}

fn started(command: &mut Command, port: u16) -> anyhow::Result<(Process, String)> {
    let process = Process::start(command)?;
    wait_for_port(port)?;
    Ok((process, format!("http://127.0.0.1:{port}")))
}

/// Finds a program in PATH or in /usr/sbin, where Debian has servers.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut folders = env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    folders.find_map(|folder| Some(folder.join(name)).filter(|file| file.is_file()))
}
