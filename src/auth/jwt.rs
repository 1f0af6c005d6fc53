//! Bearer tokens, as Django's `rest_framework_simplejwt` issues them or an issuer with a public key does.

use anyhow::Context;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, errors::ErrorKind};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::viewer::{Scope, Viewer};
use crate::{
    config::{JwtAlgorithm, JwtConfig},
    error::{ErrorCode, Result},
    ids::{CommunityId, UserId},
};

/// What is read of a token.
#[derive(Serialize, Deserialize)]
struct Claims {
    token_type: String,
    exp: i64,
    iat: i64,
    jti: String,
    user_id: NumberOrText,
    /// Narrows the token to these communities.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    communities: Option<Vec<CommunityId>>,
}

/// simplejwt wrote `user_id` as a number up to 5.5.0 and as a string since.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum NumberOrText {
    Number(UserId),
    Text(String),
}

/// Only what is needed of a token that is checked: others may lack `iat` or `jti`.
#[derive(Deserialize)]
struct Checked {
    token_type: Option<String>,
    exp: f64,
    user_id: NumberOrText,
    #[serde(default)]
    communities: Option<Vec<CommunityId>>,
}

/// Checks tokens.
pub struct Verifier {
    key: DecodingKey,
    validation: Validation,
}

/// The last good token of a connection: its SHA-256 and whom it is for. A client polls with one token again and again, and to
/// check a signature and read JSON costs several times a hash.
#[derive(Default)]
pub struct LastGood(Option<([u8; 32], Viewer)>);

impl Verifier {
    /// The verifier that the settings describe, or what is wrong with them.
    pub fn new(config: &JwtConfig) -> anyhow::Result<Self> {
        let pem = || -> anyhow::Result<Vec<u8>> {
            let given = config.jwt_public_key.as_deref().filter(|key| !key.is_empty());
            let given = given.context("JWT_PUBLIC_KEY is needed for this JWT_ALGORITHM")?;
            if given.contains("-----BEGIN") {
                return Ok(given.replace("\\n", "\n").into_bytes());
            }
            std::fs::read(given).with_context(|| format!("JWT_PUBLIC_KEY: reading {given}"))
        };
        let (algorithm, key) = match config.jwt_algorithm {
            JwtAlgorithm::Hs256 => {
                let secret = config.jwt_secret.as_deref().filter(|secret| !secret.is_empty());
                let secret = secret.context("JWT_SECRET is needed for JWT_ALGORITHM=HS256")?;
                (Algorithm::HS256, DecodingKey::from_secret(secret.as_bytes()))
            }
            JwtAlgorithm::Rs256 => (Algorithm::RS256, DecodingKey::from_rsa_pem(&pem()?).context("JWT_PUBLIC_KEY")?),
            JwtAlgorithm::Es256 => (Algorithm::ES256, DecodingKey::from_ec_pem(&pem()?).context("JWT_PUBLIC_KEY")?),
            JwtAlgorithm::EdDsa => (Algorithm::EdDSA, DecodingKey::from_ed_pem(&pem()?).context("JWT_PUBLIC_KEY")?),
        };
        let mut validation = Validation::new(algorithm);
        validation.leeway = 0;
        validation.validate_nbf = true;
        Ok(Self { key, validation })
    }

    /// As [`Verifier::verify`], with less work where it is the token that was good last. Its end is noticed all the same.
    pub fn verify_again(&self, token: &str, last: &mut LastGood) -> Result<Viewer> {
        let hash: [u8; 32] = Sha256::digest(token).into();
        let now = chrono::Utc::now().timestamp();
        match &last.0 {
            Some((good, viewer)) if *good == hash && viewer.expires_at.is_some_and(|end| end >= now) => {
                Ok(viewer.clone())
            }
            _ => {
                let viewer = self.verify(token)?;
                last.0 = Some((hash, viewer.clone()));
                Ok(viewer)
            }
        }
    }

    /// Who `token` is for. `token_expired` or `token_invalid` otherwise.
    pub fn verify(&self, token: &str) -> Result<Viewer> {
        let claims = jsonwebtoken::decode::<Checked>(token, &self.key, &self.validation)
            .map_err(|error| match error.kind() {
                ErrorKind::ExpiredSignature => ErrorCode::TokenExpired,
                _ => ErrorCode::TokenInvalid,
            })?
            .claims;
        // A refresh token is signed with the same key and is no access token.
        if claims.token_type.as_deref() != Some("access") {
            return Err(ErrorCode::TokenInvalid.into());
        }
        let user_id = match claims.user_id {
            NumberOrText::Number(id) => id,
            NumberOrText::Text(text) => text.parse().map_err(|_| ErrorCode::TokenInvalid)?,
        };
        if user_id < 1 {
            return Err(ErrorCode::TokenInvalid.into());
        }
        Ok(Viewer { user_id, scope: Scope::new(claims.communities), expires_at: Some(claims.exp as i64) })
    }
}

/// A token like simplejwt's for `user`, signed with the shared secret, good for `ttl_seconds`.
pub fn mint(
    secret: &str,
    user: UserId,
    communities: Option<Vec<CommunityId>>,
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
    };
    let key = EncodingKey::from_secret(secret.as_bytes());
    Ok(jsonwebtoken::encode(&Header::default(), &claims, &key)?)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    const SECRET: &str = "a secret of the tests, of enough bytes";

    fn verifier() -> Verifier {
        let config =
            JwtConfig { jwt_secret: Some(SECRET.to_owned()), jwt_public_key: None, jwt_algorithm: JwtAlgorithm::Hs256 };
        Verifier::new(&config).unwrap()
    }

    #[test]
    fn a_remembered_token_ends_when_it_ends() {
        let (verifier, mut last) = (verifier(), LastGood::default());
        let token = mint(SECRET, 7, None, 1).unwrap();
        assert_eq!(verifier.verify_again(&token, &mut last).unwrap().user_id, 7);
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
        let (verifier, mut last) = (verifier(), LastGood::default());
        let (ada, grace) = (mint(SECRET, 7, None, 60).unwrap(), mint(SECRET, 8, Some(vec![3]), 60).unwrap());
        // Grace's claims under Ada's signature.
        let forged = format!("{}.{}", grace.rsplit_once('.').unwrap().0, ada.rsplit_once('.').unwrap().1);
        for (token, user) in [(&ada, 7), (&ada, 7), (&grace, 8), (&ada, 7)] {
            assert_eq!(verifier.verify_again(token, &mut last).unwrap().user_id, user);
            let refused = verifier.verify_again(&forged, &mut last).unwrap_err();
            assert_eq!(refused.code(), ErrorCode::TokenInvalid);
        }
        assert!(!verifier.verify_again(&grace, &mut last).unwrap().scope.allows(4));
    }
}
