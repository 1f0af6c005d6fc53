//! Bearer tokens: those that Django's `rest_framework_simplejwt` issues, and those of an issuer with a public key.

use anyhow::Context;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, errors::ErrorKind};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{secrets::secrets, viewer::Viewer};
use crate::{
    config::{JwtAlgorithm, JwtConfig, SigningConfig},
    directory::Scope,
    error::{ErrorCode, Result},
    ids::{CommunityId, LoginId, UserId},
};

/// The claims of a token that this program signs.
#[derive(Serialize)]
struct Claims {
    token_type: String,
    exp: i64,
    iat: i64,
    jti: String,
    user_id: NumberOrText,
    /// The only communities that the token is valid for.
    #[serde(skip_serializing_if = "Option::is_none")]
    communities: Option<Vec<CommunityId>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    aud: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    iss: Option<String>,
    /// The log-in that the token is of.
    #[serde(skip_serializing_if = "Option::is_none")]
    login_id: Option<LoginId>,
}

/// simplejwt writes `user_id` as a number up to version 5.5.0, and as a string in later versions.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum NumberOrText {
    Number(UserId),
    Text(String),
}

/// The claims that this program reads. It ignores all others, because some issuers leave out `iat` or `jti`.
#[derive(Deserialize)]
struct RequiredClaims {
    token_type: Option<String>,
    exp: f64,
    iat: Option<f64>,
    user_id: NumberOrText,
    #[serde(default)]
    communities: Option<Vec<CommunityId>>,
    #[serde(default)]
    login_id: Option<LoginId>,
}

/// How far the clock of the issuer may be ahead of this one. A token from further in the future is a mistake, or was made for later.
const ISSUER_LEEWAY_SECONDS: i64 = 60;

/// Checks tokens.
pub struct Verifier {
    /// A token is valid if one of these keys has signed it.
    keys: Vec<VerifyingKey>,
    validation: Validation,
}

/// A secret or public key of the settings.
struct VerifyingKey {
    decoding: DecodingKey,
    /// Tells the key from others, and does not reveal it. A session names the key that vouched for its user by this.
    fingerprint: String,
}

impl VerifyingKey {
    /// `text` is the secret, or the public key in PEM.
    fn new(decoding: DecodingKey, algorithm: Algorithm, text: &str) -> Self {
        // A public key stays the same if its lines are broken elsewhere.
        let is_secret = algorithm == Algorithm::HS256;
        let text: String = text.chars().filter(|letter| is_secret || !letter.is_whitespace()).collect();
        let hash = Sha256::digest(format!("the key of a discussions session: {algorithm:?} {text}"));
        let fingerprint = hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        Self { decoding, fingerprint }
    }
}

/// A valid token.
pub(super) struct Verified<'a> {
    pub viewer: Viewer,
    /// The fingerprint of the key that has signed it.
    pub key: &'a str,
    /// The log-in that it is of. None if another program has issued it.
    pub login_id: Option<LoginId>,
}

/// The last valid token of a connection. A client polls with the same token again and again, and a hash costs a fraction of checking
/// a signature and parsing JSON.
#[derive(Default)]
pub struct TokenCache(Option<ValidToken>);

/// The SHA-256 of a token, and its viewer. Each connection has one, so it is small.
struct ValidToken {
    hash: [u8; 32],
    user_id: UserId,
    scope: Scope,
    expires_at: i64,
}

impl Verifier {
    /// Makes the verifier for the settings. Fails if they are incomplete or a key cannot be read.
    pub fn new(config: &JwtConfig) -> anyhow::Result<Self> {
        let pem = || -> anyhow::Result<String> {
            let key = config.jwt_public_key.as_deref().filter(|key| !key.is_empty());
            let key = key.context("JWT_PUBLIC_KEY is needed for this JWT_ALGORITHM")?;
            if key.contains("-----BEGIN") {
                return Ok(key.replace("\\n", "\n"));
            }
            std::fs::read_to_string(key).with_context(|| format!("JWT_PUBLIC_KEY: cannot read the file {key}"))
        };
        type FromPem = fn(&[u8]) -> Result<DecodingKey, jsonwebtoken::errors::Error>;
        let public = |algorithm, decode: FromPem| -> anyhow::Result<_> {
            let pem = pem()?;
            let decoding = decode(pem.as_bytes()).context("JWT_PUBLIC_KEY")?;
            Ok((algorithm, vec![VerifyingKey::new(decoding, algorithm, &pem)]))
        };
        let (algorithm, keys) = match config.jwt_algorithm {
            JwtAlgorithm::Hs256 => {
                let secret =
                    config.jwt_secret.as_ref().map(ExposeSecret::expose_secret).filter(|secret| !secret.is_empty());
                let secret = secret.context("JWT_SECRET is needed for JWT_ALGORITHM=HS256")?;
                let key = |secret: &&str| {
                    VerifyingKey::new(DecodingKey::from_secret(secret.as_bytes()), Algorithm::HS256, secret)
                };
                (Algorithm::HS256, secrets(secret)?.iter().map(key).collect())
            }
            JwtAlgorithm::Rs256 => public(Algorithm::RS256, DecodingKey::from_rsa_pem)?,
            JwtAlgorithm::Es256 => public(Algorithm::ES256, DecodingKey::from_ec_pem)?,
            JwtAlgorithm::EdDsa => public(Algorithm::EdDSA, DecodingKey::from_ed_pem)?,
        };
        let mut validation = Validation::new(algorithm);
        validation.leeway = 0;
        // `exp` is the first second in which the token is no longer valid.
        validation.reject_tokens_expiring_in_less_than = 1;
        validation.validate_nbf = true;
        // Without JWT_AUDIENCE a token may name any audience.
        validation.validate_aud = false;
        let audiences = entries(config.jwt_audience.iter().map(String::as_str));
        let issuers = entries(config.jwt_issuer.iter().map(String::as_str));
        if !audiences.is_empty() {
            validation.validate_aud = true;
            validation.set_audience(&audiences);
            validation.required_spec_claims.insert("aud".to_owned());
        }
        if !issuers.is_empty() {
            validation.set_issuer(&issuers);
            validation.required_spec_claims.insert("iss".to_owned());
        }
        Ok(Self { keys, validation })
    }

    /// Like [`Verifier::verify`], with less work if `cache` has the token. It refuses an expired token in any case.
    pub fn verify_again(&self, token: &str, cache: &mut TokenCache) -> Result<Viewer> {
        let hash: [u8; 32] = Sha256::digest(token).into();
        let now = chrono::Utc::now().timestamp();
        if let Some(valid) = cache.0.as_ref().filter(|valid| valid.hash == hash && valid.expires_at > now) {
            let (user_id, scope, expires_at) = (valid.user_id, valid.scope.clone(), Some(valid.expires_at));
            return Ok(Viewer { user_id, scope, expires_at, session: None });
        }
        let viewer = self.verify(token)?;
        let (user_id, scope) = (viewer.user_id, viewer.scope.clone());
        cache.0 = viewer.expires_at.map(|expires_at| ValidToken { hash, user_id, scope, expires_at });
        Ok(viewer)
    }

    /// The fingerprints of all keys.
    pub(super) fn fingerprints(&self) -> Vec<String> {
        self.keys.iter().map(|key| key.fingerprint.clone()).collect()
    }

    /// The claims of a token, if one of the keys has signed it and it is valid now, and that key.
    fn claims(&self, token: &str) -> Result<(RequiredClaims, &VerifyingKey), ErrorCode> {
        for key in &self.keys {
            match jsonwebtoken::decode::<RequiredClaims>(token, &key.decoding, &self.validation) {
                // `crit` names extensions that a program must know to accept the token. This program knows none.
                Ok(decoded) if decoded.header.crit.is_some() => break,
                Ok(decoded) => return Ok((decoded.claims, key)),
                Err(error) => match error.kind() {
                    ErrorKind::InvalidSignature => {}
                    ErrorKind::ExpiredSignature => return Err(ErrorCode::TokenExpired),
                    _ => break,
                },
            }
        }
        Err(ErrorCode::TokenInvalid)
    }

    /// The user of `token`. `token_expired` or `token_invalid` if the token is not valid.
    pub fn verify(&self, token: &str) -> Result<Viewer> {
        self.verify_with_origin(token).map(|verified| verified.viewer)
    }

    /// Like [`Verifier::verify`], with what the token comes from.
    pub(super) fn verify_with_origin(&self, token: &str) -> Result<Verified<'_>> {
        let (claims, key) = self.claims(token)?;
        let latest = (chrono::Utc::now().timestamp() + ISSUER_LEEWAY_SECONDS) as f64;
        if claims.iat.is_some_and(|issued| issued > latest) {
            return Err(ErrorCode::TokenInvalid.into());
        }
        // A refresh token is signed with the same key but gives no access.
        if claims.token_type.as_deref() != Some("access") {
            return Err(ErrorCode::TokenInvalid.into());
        }
        let user_id = match claims.user_id {
            NumberOrText::Number(id) => id,
            NumberOrText::Text(text) => text.parse().map_err(|_| ErrorCode::TokenInvalid)?,
        };
        if user_id.get() < 1 {
            return Err(ErrorCode::TokenInvalid.into());
        }
        let (scope, expires_at) = (Scope::new(claims.communities), Some(claims.exp as i64));
        let viewer = Viewer { user_id, scope, expires_at, session: None };
        Ok(Verified { viewer, key: &key.fingerprint, login_id: claims.login_id })
    }
}

/// The entries of a list that are not empty. An empty variable counts as not set.
pub(super) fn entries<'a>(list: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    list.into_iter().map(str::trim).filter(|name| !name.is_empty()).collect()
}

/// The secret that signs a token, and the token's audience and issuer.
pub struct Signing<'a> {
    secret: &'a str,
    audience: Option<&'a str>,
    issuer: Option<&'a str>,
}

impl<'a> Signing<'a> {
    fn first(setting: &'a str, audiences: &'a [String], issuers: &'a [String]) -> Self {
        // No server accepts what an invalid setting signs.
        let secret = secrets(setting).ok().and_then(|secrets| secrets.first().copied()).unwrap_or(setting);
        let first = |list: &'a [String]| entries(list.iter().map(String::as_str)).first().copied();
        Self { secret, audience: first(audiences), issuer: first(issuers) }
    }
}

impl<'a> From<&'a str> for Signing<'a> {
    fn from(secrets: &'a str) -> Self {
        Self::first(secrets, &[], &[])
    }
}

impl<'a> From<&'a JwtConfig> for Signing<'a> {
    fn from(config: &'a JwtConfig) -> Self {
        let secret = config.jwt_secret.as_ref().map_or("", ExposeSecret::expose_secret);
        Self::first(secret, &config.jwt_audience, &config.jwt_issuer)
    }
}

impl<'a> TryFrom<&'a SigningConfig> for Signing<'a> {
    type Error = anyhow::Error;

    /// An error where no server accepts what the setting signs.
    fn try_from(config: &'a SigningConfig) -> anyhow::Result<Self> {
        let setting = config.jwt_secret.expose_secret();
        secrets(setting)?;
        Ok(Self::first(setting, &config.jwt_audience, &config.jwt_issuer))
    }
}

/// Makes a token like simplejwt's for `user`, which expires after `ttl_seconds`. The first of the shared secrets signs it.
pub fn mint<'a>(
    signing: impl Into<Signing<'a>>,
    user: UserId,
    communities: Option<Vec<CommunityId>>,
    ttl_seconds: i64,
) -> anyhow::Result<String> {
    sign(&signing.into(), user, communities, None, ttl_seconds)
}

/// Like [`mint`], for the log-in `login_id`.
pub(crate) fn mint_for_login(
    config: &JwtConfig,
    user: UserId,
    login_id: LoginId,
    ttl_seconds: i64,
) -> anyhow::Result<String> {
    sign(&config.into(), user, None, Some(login_id), ttl_seconds)
}

fn sign(
    signing: &Signing<'_>,
    user: UserId,
    communities: Option<Vec<CommunityId>>,
    login_id: Option<LoginId>,
    ttl_seconds: i64,
) -> anyhow::Result<String> {
    let now = chrono::Utc::now().timestamp();
    let claims = Claims {
        token_type: "access".to_owned(),
        exp: now + ttl_seconds,
        iat: now,
        jti: uuid::Uuid::new_v4().simple().to_string(),
        user_id: NumberOrText::Number(user),
        communities,
        aud: signing.audience.map(str::to_owned),
        iss: signing.issuer.map(str::to_owned),
        login_id,
    };
    let key = EncodingKey::from_secret(signing.secret.as_bytes());
    Ok(jsonwebtoken::encode(&Header::default(), &claims, &key)?)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    const SECRET: &str = "a secret of the tests, of enough bytes";
    const ADA: UserId = UserId::new(7);
    const GRACE: UserId = UserId::new(8);

    fn verifier() -> Verifier {
        Verifier::new(&config(SECRET)).unwrap()
    }

    fn config(secret: &str) -> JwtConfig {
        JwtConfig {
            jwt_secret: Some(secret.into()),
            jwt_public_key: None,
            jwt_algorithm: JwtAlgorithm::Hs256,
            jwt_audience: Vec::new(),
            jwt_issuer: Vec::new(),
        }
    }

    #[test]
    fn a_token_is_remembered_whichever_secret_it_is_signed_with() {
        let (old, new) = ("the secret of before is long enough.", "the secret of now is long enough too");
        let setting = format!("{new}, {old}");
        let verifier = Verifier::new(&config(&setting)).unwrap();
        let (old, new) = (mint(old, ADA, None, 60).unwrap(), mint(new, GRACE, None, 60).unwrap());
        let other = mint("the secret of others", ADA, None, 60).unwrap();
        let mut last = TokenCache::default();
        for (token, user) in [(&old, ADA), (&old, ADA), (&new, GRACE), (&old, ADA), (&new, GRACE), (&new, GRACE)] {
            assert_eq!(verifier.verify_again(token, &mut last).unwrap().user_id, user);
            assert_eq!(verifier.verify_again(&other, &mut last).unwrap_err().code(), ErrorCode::TokenInvalid);
        }
    }

    #[test]
    fn a_fingerprint_is_that_of_one_key_and_does_not_show_it() {
        let fingerprints = |setting: &str| Verifier::new(&config(setting)).unwrap().fingerprints();
        let (old, new) = ("the secret of before is long enough.", "the secret of now is long enough too");
        let list = format!("{new}, {old}");
        assert_eq!(fingerprints(&list)[..2], [fingerprints(new), fingerprints(old)].concat());
        assert!(fingerprints(&list).iter().all(|one| one.len() == 32 && !list.contains(&**one)));
        let verifier = Verifier::new(&config(&list)).unwrap();
        for secret in [old, new] {
            let token = mint(secret, ADA, None, 60).unwrap();
            assert_eq!(verifier.verify_with_origin(&token).unwrap().key, fingerprints(secret)[0]);
        }
    }

    #[test]
    fn a_secret_that_contains_a_comma_stays_good() {
        let setting = "one secret that is long, with a comma that is in it";
        let verifier = Verifier::new(&config(setting)).unwrap();
        let key = EncodingKey::from_secret(setting.as_bytes());
        let claims = serde_json::json!({ "token_type": "access", "user_id": 7, "exp": i64::MAX / 2 });
        let token = jsonwebtoken::encode(&Header::default(), &claims, &key).unwrap();
        assert_eq!(verifier.verify(&token).unwrap().user_id, ADA);
        assert_eq!(verifier.verify(&mint(setting, GRACE, None, 60).unwrap()).unwrap().user_id, GRACE);
    }

    #[test]
    fn a_remembered_token_ends_when_it_ends() {
        let (verifier, mut last) = (verifier(), TokenCache::default());
        let token = mint(SECRET, ADA, None, 1).unwrap();
        assert_eq!(verifier.verify_again(&token, &mut last).unwrap().user_id, ADA);
        let start = Instant::now();
        let ended = loop {
            match verifier.verify_again(&token, &mut last) {
                Ok(_) => assert!(start.elapsed() < Duration::from_secs(5), "it ends after a second"),
                Err(error) => break error.code(),
            }
            std::thread::yield_now();
        };
        assert_eq!(ended, ErrorCode::TokenExpired);
    }

    #[test]
    fn only_the_same_token_is_remembered() {
        let (verifier, mut last) = (verifier(), TokenCache::default());
        let ada = mint(SECRET, ADA, None, 60).unwrap();
        let grace = mint(SECRET, GRACE, Some(vec![CommunityId::new(3)]), 60).unwrap();
        // Grace's claims under Ada's signature.
        let forged = format!("{}.{}", grace.rsplit_once('.').unwrap().0, ada.rsplit_once('.').unwrap().1);
        for (token, user) in [(&ada, ADA), (&ada, ADA), (&grace, GRACE), (&ada, ADA)] {
            assert_eq!(verifier.verify_again(token, &mut last).unwrap().user_id, user);
            let refused = verifier.verify_again(&forged, &mut last).unwrap_err();
            assert_eq!(refused.code(), ErrorCode::TokenInvalid);
        }
        assert!(!verifier.verify_again(&grace, &mut last).unwrap().scope.allows(CommunityId::new(4)));
    }
}
