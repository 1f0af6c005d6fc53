//! Settings: flags, or environment variables of the same name. A wrong setting ends the program at its start.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    str::FromStr,
};

use clap::{
    Args, ValueEnum,
    builder::{BoolishValueParser, TypedValueParser},
};
use ipnet::IpNet;
use secrecy::SecretString;

/// All settings of `serve`.
#[derive(Args, Clone, Debug)]
pub struct Config {
    /// PostgreSQL, as postgres://user:password@host:port/database
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    pub database_url: SecretString,
    /// Connections to PostgreSQL for requests (a few more serve the relay and the feed)
    #[arg(long, env = "DATABASE_CONNECTIONS", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    pub database_connections: u32,
    /// Redis, as redis://user:password@host:port/number or rediss://. Without it this node works alone
    #[arg(long, env = "REDIS_URL", hide_env_values = true)]
    pub redis_url: Option<SecretString>,
    /// The prefix of every key in Redis
    #[arg(long, env = "REDIS_PREFIX", default_value = "discussions:")]
    pub redis_prefix: String,
    /// About how many bytes of events the stream in Redis keeps. A node that is further behind reads PostgreSQL
    #[arg(long, env = "STREAM_BYTES", default_value_t = 67_108_864)]
    pub stream_bytes: usize,
    /// The address that accepts requests
    #[arg(long, env = "BIND_ADDR", default_value = "127.0.0.1:8000")]
    pub bind_addr: SocketAddr,
    /// The address that serves /metrics. Keep it away from the public
    #[arg(long, env = "METRICS_ADDR", default_value = "127.0.0.1:9000")]
    pub metrics_addr: SocketAddr,
    /// How tokens are checked
    #[command(flatten)]
    pub jwt: JwtConfig,
    /// Log-in by password
    #[command(flatten)]
    pub login: LoginConfig,
    /// A session ends so many seconds after its sign-in, however soon the token of the sign-in expires
    #[arg(long, env = "SESSION_TTL_SECONDS", default_value_t = 43_200, value_parser = clap::value_parser!(i64).range(60..=34_560_000))]
    pub session_ttl_seconds: i64,
    /// Mark the session cookie Secure, so that browsers send it by https only. The default is true unless BIND_ADDR is loopback
    #[arg(long, env = "SESSION_COOKIE_SECURE", value_parser = BoolishValueParser::new(), action = clap::ArgAction::Set)]
    pub session_cookie_secure: Option<bool>,
    /// Origins of the pages that may call with cookies or from another host, separated by commas
    #[arg(
        long,
        env = "ALLOWED_ORIGINS",
        value_delimiter = ',',
        value_parser = origin,
        default_value = "http://127.0.0.1:8000,http://localhost:8000,http://127.0.0.1:3000,http://localhost:3000"
    )]
    pub allowed_origins: Vec<String>,
    /// A queue without a heartbeat for this many seconds is deleted
    #[arg(long, env = "QUEUE_TTL_SECONDS", default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub queue_ttl_seconds: u64,
    /// The longest time that a poll is parked, in seconds. Keep it below the time limit of any proxy in front
    #[arg(long, env = "POLL_TIMEOUT_SECONDS", default_value_t = 55, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    pub poll_timeout_seconds: u64,
    /// Serve polls without hyper, in a tenth of the memory. Set false if you suspect it of causing trouble
    #[arg(long, env = "DIRECT_POLLS", default_value_t = true, value_parser = BoolishValueParser::new(), action = clap::ArgAction::Set)]
    pub direct_polls: bool,
    /// Threads that deliver events, besides those that serve everything else. The default is half the number of cores
    #[arg(long, env = "POLL_THREADS", value_parser = clap::value_parser!(u32).range(1..=1_024))]
    pub poll_threads: Option<u32>,
    /// A connection without a request is closed after this many seconds. Keep it above the balancer's own idle limit
    #[arg(long, env = "IDLE_CONNECTION_SECONDS", default_value_t = 75, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub idle_connection_seconds: u64,
    /// A new connection is closed if its first request has not come after this many seconds
    #[arg(long, env = "FIRST_REQUEST_SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub first_request_seconds: u64,
    /// The most connections of clients. The default, and the most possible, is what the limit of open files leaves
    #[arg(long, env = "MAX_CONNECTIONS", value_parser = clap::value_parser!(u32).range(1..))]
    pub max_connections: Option<u32>,
    /// A connection is closed when its client reads nothing of an answer for this many seconds
    #[arg(long, env = "WRITE_TIMEOUT_SECONDS", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    pub write_timeout_seconds: u64,
    /// How many events of one community a node keeps in memory
    #[arg(long, env = "COMMUNITY_LOG_EVENTS", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub community_log_events: u32,
    /// How many events of all communities a node keeps in memory. The community with the most events gives way
    #[arg(long, env = "TOTAL_LOG_EVENTS", default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub total_log_events: u32,
    /// How many bytes of events a node keeps in memory. The community with the most bytes gives way
    #[arg(long, env = "TOTAL_LOG_BYTES", default_value_t = 268_435_456)]
    pub total_log_bytes: usize,
    /// Events are deleted from the outbox this many hours after they were written
    #[arg(long, env = "OUTBOX_RETENTION_HOURS", default_value_t = 168, value_parser = clap::value_parser!(u32).range(1..))]
    pub outbox_retention_hours: u32,
    /// How often clients may do what
    #[command(flatten)]
    pub limits: LimitConfig,
    /// Do not run the migrations at start
    #[arg(long, env = "SKIP_MIGRATIONS", default_value_t = false, value_parser = BoolishValueParser::new(), action = clap::ArgAction::Set)]
    pub skip_migrations: bool,
    /// Offer the demo's sign-in, with which anyone can be any user. Never in production
    #[arg(long, env = "DEMO", default_value_t = false, value_parser = BoolishValueParser::new().try_map(|demo| demo_setting(demo, cfg!(feature = "demo"))), action = clap::ArgAction::Set)]
    pub demo: bool,
    /// A folder of files to serve at /
    #[arg(long, env = "STATIC_DIR")]
    pub static_dir: Option<PathBuf>,
}

impl Config {
    /// Whether only this machine reaches the server, unless a proxy stands in front.
    fn is_local(&self) -> bool {
        self.bind_addr.ip().to_canonical().is_loopback()
    }

    /// Whether browsers send the session cookie by https only.
    pub fn session_cookie_is_secure(&self) -> bool {
        self.session_cookie_secure.unwrap_or(!self.is_local())
    }

    /// What is dangerous about these settings, in words for the log.
    pub fn warnings(&self) -> Vec<&'static str> {
        let mut warnings = Vec::new();
        if self.demo && !self.is_local() {
            warnings.push(
                "DEMO IS ON AND THE SERVER LISTENS ON A PUBLIC ADDRESS: whoever reaches BIND_ADDR can be any user and enter any \
                 community. Unset DEMO, or set BIND_ADDR to a loopback address",
            );
        }
        warnings
    }
}

/// Limits on requests. Each node counts for itself; a third of each number may come at once.
#[derive(Args, Clone, Debug)]
pub struct LimitConfig {
    /// How often a user may write in a minute; 0 is no limit
    #[arg(long, env = "WRITES_PER_MINUTE", default_value_t = 60)]
    pub writes_per_minute: u32,
    /// How often a user may vote, mark as read or follow in a minute; 0 is no limit
    #[arg(long, env = "VOTES_PER_MINUTE", default_value_t = 120)]
    pub votes_per_minute: u32,
    /// How often a user may register a queue or begin a session in a minute; 0 is no limit
    #[arg(long, env = "REGISTERS_PER_MINUTE", default_value_t = 60)]
    pub registers_per_minute: u32,
    /// How often somebody may log in by password in a minute, from one address and as one user; 0 is no limit
    #[arg(long, env = "LOGINS_PER_MINUTE", default_value_t = 10)]
    pub logins_per_minute: u32,
    /// How many requests an address may send in a minute without signing in; 0 is no limit
    #[arg(long, env = "ANONYMOUS_READS_PER_MINUTE", default_value_t = 600)]
    pub anonymous_reads_per_minute: u32,
    /// The proxies whose X-Forwarded-For is believed: addresses or networks, such as 10.0.0.0/8,::1, separated by commas
    #[arg(long, env = "TRUSTED_PROXIES", default_value = "")]
    pub trusted_proxies: TrustedProxies,
}

/// The networks of proxies whose word is taken for whom they ask for.
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies(Vec<IpNet>);

impl TrustedProxies {
    /// Whether a trusted proxy has this address.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }
}

impl FromStr for TrustedProxies {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
        let network = |entry: &str| entry.parse().or_else(|_| entry.parse::<IpAddr>().map(IpNet::from));
        let networks = entries.map(|entry| {
            network(entry).map_err(|_| format!("{entry} is not an address or a network, such as 10.0.0.0/8"))
        });
        networks.collect::<Result<_, _>>().map(Self)
    }
}

/// The algorithms that tokens may be signed with. The configuration chooses one; the token never does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum JwtAlgorithm {
    /// HMAC with a shared secret, as Django's simplejwt does by default
    #[value(name = "HS256")]
    Hs256,
    /// RSA with a public key
    #[value(name = "RS256")]
    Rs256,
    /// ECDSA on P-256 with a public key
    #[value(name = "ES256")]
    Es256,
    /// Ed25519 with a public key
    #[value(name = "EdDSA")]
    EdDsa,
}

/// How tokens are checked.
#[derive(Args, Clone, Debug)]
pub struct JwtConfig {
    /// The secret shared with the issuer (HS256): Django's SECRET_KEY during the migration. While you change it, list the new and
    /// the old one, separated by a comma: all are accepted, the first signs
    #[arg(long, env = "JWT_SECRET", hide_env_values = true)]
    pub jwt_secret: Option<SecretString>,
    /// The issuer's public key in PEM, or the path of a file with it (RS256, ES256, EdDSA)
    #[arg(long, env = "JWT_PUBLIC_KEY")]
    pub jwt_public_key: Option<String>,
    /// The algorithm of the tokens
    #[arg(long, env = "JWT_ALGORITHM", default_value = "HS256", ignore_case = true)]
    pub jwt_algorithm: JwtAlgorithm,
    /// A token must name one of these audiences (`aud`), separated by commas. Without it `aud` is not checked
    #[arg(long, env = "JWT_AUDIENCE", value_delimiter = ',')]
    pub jwt_audience: Vec<String>,
    /// A token must name one of these issuers (`iss`), separated by commas. Without it `iss` is not checked
    #[arg(long, env = "JWT_ISSUER", value_delimiter = ',')]
    pub jwt_issuer: Vec<String>,
}

/// Log-in by password, without Django.
#[derive(Args, Clone, Debug)]
pub struct LoginConfig {
    /// Offer log-in by password. Leave it off while Django issues the tokens
    #[arg(long, env = "PASSWORD_LOGIN", default_value_t = false, value_parser = BoolishValueParser::new(), action = clap::ArgAction::Set)]
    pub password_login: bool,
    /// The tokens of a log-in are valid for so many seconds
    #[arg(long, env = "ACCESS_TOKEN_SECONDS", default_value_t = 86_400, value_parser = clap::value_parser!(i64).range(60..=2_592_000))]
    pub access_token_seconds: i64,
    /// A log-in ends after so many seconds without a refresh
    #[arg(long, env = "REFRESH_TOKEN_SECONDS", default_value_t = 2_592_000, value_parser = clap::value_parser!(i64).range(60..=34_560_000))]
    pub refresh_token_seconds: i64,
    /// The rounds of the PBKDF2 hashes that Django made. A refused log-in takes as long as one of these
    #[arg(long, env = "DJANGO_PASSWORD_ROUNDS", default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub django_password_rounds: u32,
}

/// How commands sign tokens: the same settings as those of `serve`.
#[derive(Args, Clone, Debug)]
pub struct SigningConfig {
    /// The secret that signs tokens. Of several, separated by commas, the first signs
    #[arg(long, env = "JWT_SECRET", hide_env_values = true)]
    pub jwt_secret: SecretString,
    /// The audience (`aud`) of the tokens. Of several, separated by commas, the first is used
    #[arg(long, env = "JWT_AUDIENCE", value_delimiter = ',')]
    pub jwt_audience: Vec<String>,
    /// The issuer (`iss`) of the tokens. Of several, separated by commas, the first is used
    #[arg(long, env = "JWT_ISSUER", value_delimiter = ',')]
    pub jwt_issuer: Vec<String>,
}

/// DEMO must not be true without the demo: a program that ignored it would answer 404 and not say why.
fn demo_setting(is_wanted: bool, is_built_in: bool) -> Result<bool, DemoError> {
    if is_wanted && !is_built_in { Err(DemoError) } else { Ok(is_wanted) }
}

#[derive(Debug)]
struct DemoError;

impl std::error::Error for DemoError {}

impl std::fmt::Display for DemoError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(
            "this program was built without the demo, in which anyone can be any user. Unset DEMO, or build it with \
             `--features demo` (Docker: `--build-arg FEATURES=demo`) if this is not production",
        )
    }
}

/// An origin as browsers send it. An empty text means no origin: compose files and shells produce it.
fn origin(text: &str) -> Result<String, String> {
    let text = text.trim();
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let is_host =
        |host: &str| !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_graphic() && !b"/*?#@".contains(&byte));
    match host {
        Some(host) if is_host(host) => Ok(text.to_owned()),
        None if text.is_empty() => Ok(String::new()),
        _ => Err("is not an origin, such as https://example.org or http://127.0.0.1:3000 (no path, no `*`)".to_owned()),
    }
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people
    Text,
    /// One JSON object a line
    Json,
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        config: Config,
    }

    #[test]
    fn the_demo_is_refused_where_it_is_not_built_in() {
        let parse = |demo| Cli::try_parse_from(["test", "--database-url", "postgres://localhost", "--demo", demo]);
        assert!(!parse("false").unwrap().config.demo);
        assert_eq!(parse("true").is_ok(), cfg!(feature = "demo"));
        assert!(demo_setting(true, true).unwrap() && !demo_setting(false, false).unwrap());
        assert!(demo_setting(true, false).unwrap_err().to_string().contains("Unset DEMO"));
    }

    #[test]
    #[cfg(feature = "demo")]
    fn a_demo_that_others_can_reach_is_warned_of() {
        for (demo, address, warnings) in [
            ("true", "127.0.0.1:8000", 0),
            ("true", "[::1]:8000", 0),
            ("true", "[::ffff:127.0.0.2]:8000", 0),
            ("true", "0.0.0.0:8000", 1),
            ("true", "[::]:8000", 1),
            ("true", "192.0.2.1:8000", 1),
            ("false", "0.0.0.0:8000", 0),
        ] {
            let arguments = ["test", "--database-url", "postgres://localhost", "--demo", demo, "--bind-addr", address];
            assert_eq!(Cli::parse_from(arguments).config.warnings().len(), warnings, "{demo} {address}");
        }
    }

    #[test]
    fn the_session_cookie_is_secure_unless_only_this_machine_reaches_the_server() {
        for (address, setting, is_secure) in [
            ("127.0.0.1:8000", None, false),
            ("[::1]:8000", None, false),
            ("[::ffff:127.0.0.2]:8000", None, false),
            ("0.0.0.0:8000", None, true),
            ("[::]:8000", None, true),
            ("192.0.2.1:8000", None, true),
            ("0.0.0.0:8000", Some("false"), false),
            ("127.0.0.1:8000", Some("true"), true),
        ] {
            let setting = setting.map(|value| ["--session-cookie-secure", value]);
            let arguments = ["test", "--database-url", "postgres://localhost", "--bind-addr", address];
            let config = Cli::parse_from(arguments.into_iter().chain(setting.into_iter().flatten())).config;
            assert_eq!(config.session_cookie_is_secure(), is_secure, "{address} {setting:?}");
        }
    }

    #[test]
    fn trusted_proxies_are_addresses_and_networks() {
        let proxies: TrustedProxies = "10.0.0.0/8, 192.0.2.7,::1,".parse().unwrap();
        for inside in ["10.200.0.1", "192.0.2.7", "::1"] {
            assert!(proxies.contains(inside.parse().unwrap()), "{inside}");
        }
        for outside in ["11.0.0.1", "192.0.2.8", "::2"] {
            assert!(!proxies.contains(outside.parse().unwrap()), "{outside}");
        }
        assert!(!"".parse::<TrustedProxies>().unwrap().contains("127.0.0.1".parse().unwrap()));
        for bad in ["localhost", "10.0.0.0/33", "10.0.0", "*"] {
            assert!(bad.parse::<TrustedProxies>().is_err(), "{bad}");
        }
    }

    #[test]
    fn origins_are_what_browsers_send() {
        for good in ["https://example.org", "http://127.0.0.1:3000", " http://[::1]:8000 ", ""] {
            assert_eq!(origin(good).as_deref(), Ok(good.trim()));
        }
        for bad in [
            "*",
            "https://*",
            "https://*.example.org",
            "example.org",
            "https://example.org/",
            "https://",
            "null",
            "ftp://x",
        ] {
            assert!(origin(bad).is_err(), "{bad}");
        }
    }
}
