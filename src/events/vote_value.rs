//! The value of a vote.

use serde::{Deserialize, Serialize};
use utoipa::{PartialSchema, ToSchema, openapi};

/// A vote: 1 up, -1 down, 0 none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, sqlx::Type)]
#[serde(try_from = "i16", into = "i16")]
#[repr(i16)]
pub enum VoteValue {
    /// Against.
    Down = -1,
    /// None.
    #[default]
    None = 0,
    /// For.
    Up = 1,
}

impl From<VoteValue> for i16 {
    fn from(value: VoteValue) -> Self {
        value as Self
    }
}

impl TryFrom<i16> for VoteValue {
    type Error = &'static str;

    fn try_from(value: i16) -> Result<Self, Self::Error> {
        match value {
            -1 => Ok(Self::Down),
            0 => Ok(Self::None),
            1 => Ok(Self::Up),
            _ => Err("must be 1, 0 or -1"),
        }
    }
}

impl PartialSchema for VoteValue {
    fn schema() -> openapi::RefOr<openapi::Schema> {
        let values = [-1, 0, 1];
        openapi::ObjectBuilder::new()
            .schema_type(openapi::schema::Type::Integer)
            .enum_values(Some(values))
            .description(Some("A vote: 1 up, -1 down, 0 none."))
            .into()
    }
}

impl ToSchema for VoteValue {}
