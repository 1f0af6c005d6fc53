//! Limits on requests: how often a user may write, vote and register, and how often an address may ask without signing in.
//!
//! [`enforce`] is a layer around every route of the API but `/poll`. It decides by method and path, before the body is read, so
//! a new route is limited by default. Each node counts in its own memory, so behind a balancer a client may do as much on each
//! node.

mod address;
mod limiter;
mod logins;

use std::{
    net::{IpAddr, SocketAddr},
    num::NonZeroU32,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use axum::{
    extract::{MatchedPath, Request, State},
    http::{Method, request::Parts},
    middleware::Next,
    response::{IntoResponse, Response},
};

pub(crate) use self::logins::NameLimit;
use self::{address::Network, limiter::Limiter};
use crate::{
    auth::{AuthState, viewer::Authenticated},
    config::{LimitConfig, TrustedProxies},
    error::{ApiError, ErrorCode},
    ids::UserId,
    metrics,
};

const WRITES: &str = "writes";
const VOTES: &str = "votes";
const REGISTERS: &str = "registers";
const ANONYMOUS_READS: &str = "anonymous_reads";
const LOGINS: &str = "logins";

/// How long a refusal waits before it is sent. A client that goes on without a pause then costs ten refusals a second for each of
/// its connections, and not the thousands that would take the cores from everybody else.
const REFUSAL_DELAY: Duration = Duration::from_millis(100);

/// The limit that a user's request counts for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Counted {
    Writes,
    Votes,
    Registers,
}

/// The peer address of the connection, as an extension of its requests. None if it is not known.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub Option<SocketAddr>);

/// The limits, and what is needed to find the user or address of a request.
pub(crate) struct Limits {
    auth: AuthState,
    trusted_proxies: TrustedProxies,
    writes: Limiter<UserId>,
    votes: Limiter<UserId>,
    registers: Limiter<UserId>,
    anonymous: Limiter<Network>,
    logins: Limiter<Network>,
    warned_of_proxy: AtomicBool,
}

impl Limits {
    /// The limits of the settings.
    pub(crate) fn new(auth: AuthState, config: &LimitConfig) -> Self {
        for limit in [WRITES, VOTES, REGISTERS, ANONYMOUS_READS, LOGINS] {
            metrics::REFUSALS.increment("limit", limit, 0);
        }
        Self {
            auth,
            trusted_proxies: config.trusted_proxies.clone(),
            writes: Limiter::new(config.writes_per_minute),
            votes: Limiter::new(config.votes_per_minute),
            registers: Limiter::new(config.registers_per_minute),
            anonymous: Limiter::new(config.anonymous_reads_per_minute),
            logins: Limiter::new(config.logins_per_minute),
            warned_of_proxy: AtomicBool::new(false),
        }
    }

    /// Counts a request. Returns the result of its authentication, so that the handler need not repeat it.
    async fn check(&self, path: &str, parts: &Parts) -> Result<Authenticated, ApiError> {
        if path == "/auth/login" {
            // Whoever logs in is nobody yet, whatever token they send.
            self.check_login(parts)?;
            return Ok(Authenticated::Checked(Ok(None)));
        }
        let authenticated = Authenticated::of(&self.auth, parts).await;
        match authenticated.user_id() {
            Ok(Some(user)) => self.check_user(user, counted(&parts.method, path))?,
            // The database is down: the handler answers 503, and nobody is counted.
            Err(ErrorCode::Unavailable) => {}
            Ok(None) | Err(_) => self.check_address(parts)?,
        }
        Ok(authenticated)
    }

    fn check_user(&self, user: UserId, counted: Option<Counted>) -> Result<(), ApiError> {
        let (limit, limiter, actions) = match counted {
            None => return Ok(()),
            Some(Counted::Writes) => (WRITES, &self.writes, "write"),
            Some(Counted::Votes) => (VOTES, &self.votes, "vote, mark as read or follow"),
            Some(Counted::Registers) => (REGISTERS, &self.registers, "register or sign in"),
        };
        limiter
            .check(&user)
            .map_err(|wait| refused(limit, wait, format!("you may {actions} {} times a minute", limiter.per_minute())))
    }

    fn check_address(&self, parts: &Parts) -> Result<(), ApiError> {
        let network = Network::of(self.client_address(parts));
        self.anonymous.check(&network).map_err(|wait| {
            let limit =
                format!("without signing in, an address may send {} requests a minute", self.anonymous.per_minute());
            refused(ANONYMOUS_READS, wait, limit)
        })
    }

    fn check_login(&self, parts: &Parts) -> Result<(), ApiError> {
        let network = Network::of(self.client_address(parts));
        self.logins.check(&network).map_err(|wait| {
            refused(LOGINS, wait, format!("an address may log in {} times a minute", self.logins.per_minute()))
        })
    }

    fn client_address(&self, parts: &Parts) -> IpAddr {
        let peer = parts.extensions.get::<Peer>().and_then(|peer| peer.0).map_or(address::UNKNOWN, |peer| peer.ip());
        let forwarded = address::forwarded(&parts.headers);
        let (client, is_trusted) = address::client(peer, forwarded, &self.trusted_proxies);
        if !is_trusted
            && parts.headers.contains_key(address::FORWARDED_FOR)
            && !self.warned_of_proxy.swap(true, Ordering::Relaxed)
        {
            tracing::warn!(
                "a request with X-Forwarded-For comes from an address that TRUSTED_PROXIES does not list: if that is your proxy, \
                 all who read through it without signing in share one limit"
            );
        }
        client
    }
}

/// The limit that a user's request counts for. Every method that may write counts as a write, except the routes listed here.
fn counted(method: &Method, path: &str) -> Option<Counted> {
    match (method.as_str(), path) {
        ("POST", "/register" | "/session" | "/auth/refresh") | ("PUT", "/queues/{queue_id}/watch") => {
            Some(Counted::Registers)
        }
        (
            "PUT",
            "/discussions/{id}/vote" | "/comments/{id}/vote" | "/discussions/{id}/follow" | "/articles/{id}/follow",
        )
        | (
            "POST",
            "/discussions/{id}/read" | "/discussions/{id}/unread" | "/articles/{id}/read" | "/notifications/read",
        ) => Some(Counted::Votes),
        // An open page, a page that closes, and a log-out.
        ("POST", "/heartbeat" | "/queues/{queue_id}/close" | "/auth/logout")
        | ("DELETE", "/queues/{queue_id}" | "/session") => None,
        _ => (!method.is_safe()).then_some(Counted::Writes),
    }
}

fn refused(limit: &'static str, wait: Duration, reason: String) -> ApiError {
    metrics::REFUSALS.increment("limit", limit, 1);
    // Rounded up, so that a client that waits this long is not refused again.
    let seconds = NonZeroU32::new(wait.as_secs_f64().ceil() as u32).unwrap_or(NonZeroU32::MIN);
    let unit = if seconds == NonZeroU32::MIN { "second" } else { "seconds" };
    ApiError::from(ErrorCode::RateLimited)
        .message(format!("{reason}: try again in {seconds} {unit}"))
        .retry_after(seconds)
}

/// The layer. It refuses a request over a limit with 429, after [`REFUSAL_DELAY`], and does not read its body.
pub(crate) async fn enforce(State(limits): State<std::sync::Arc<Limits>>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let path = parts.extensions.get::<MatchedPath>().cloned();
    match limits.check(path.as_ref().map_or("", MatchedPath::as_str), &parts).await {
        Ok(authenticated) => {
            parts.extensions.insert(authenticated);
            next.run(Request::from_parts(parts, body)).await
        }
        Err(refusal) => {
            tokio::time::sleep(REFUSAL_DELAY).await;
            refusal.into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_that_may_write_counts() {
        for path in ["/comments/{id}", "/articles/{id}/discussions", "/of/a/later/release", ""] {
            for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
                assert_eq!(counted(&method, path), Some(Counted::Writes), "{method} {path}");
            }
            assert_eq!(counted(&Method::GET, path), None, "{path}");
        }
        assert_eq!(counted(&Method::POST, "/register"), Some(Counted::Registers));
        assert_eq!(counted(&Method::PUT, "/comments/{id}/vote"), Some(Counted::Votes));
        assert_eq!(counted(&Method::POST, "/comments/{id}/vote"), Some(Counted::Writes));
        assert_eq!(counted(&Method::POST, "/discussions/{id}/read"), Some(Counted::Votes));
        assert_eq!(counted(&Method::POST, "/notifications/read"), Some(Counted::Votes));
        assert_eq!(counted(&Method::PUT, "/articles/{id}/follow"), Some(Counted::Votes));
        assert_eq!(counted(&Method::DELETE, "/register"), Some(Counted::Writes));
        assert_eq!(counted(&Method::POST, "/heartbeat"), None);
    }

    #[test]
    fn a_refusal_says_how_long_to_wait_in_whole_seconds() {
        let waits = [(1, "1"), (999, "1"), (1_000, "1"), (1_001, "2"), (20_000, "20")];
        for (milliseconds, header) in waits {
            let answer = refused(WRITES, Duration::from_millis(milliseconds), String::new()).into_response();
            assert_eq!(answer.status(), 429);
            assert_eq!(answer.headers()["retry-after"], header, "{milliseconds}");
        }
    }
}
