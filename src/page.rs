//! The cursor and the limits of a page of a list.

use std::str::FromStr;

use serde::Deserialize;
use utoipa::IntoParams;

use crate::error::{ApiError, Result};

/// The bytes at which a page ends. A page with one item may be larger.
pub(crate) const PAGE_BYTES: usize = 1 << 20;
/// About what an item has in JSON besides its texts.
const ITEM_BYTES: usize = 400;

/// The query parameters of a page.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct PageQuery {
    /// The `next_cursor` of the page before, or the `previous_cursor` of the page after. Leave it out for the first page.
    cursor: Option<String>,
    /// The most items to return, 1 to 100.
    #[param(minimum = 1, maximum = 100, default = 20)]
    limit: Option<i64>,
}

impl PageQuery {
    /// The place where the page starts or ends. None for the first page. 400 if the cursor is not one of this list.
    pub(crate) fn cursor<T: FromStr>(&self) -> Result<Option<T>> {
        let parse = |cursor: &str| {
            cursor.parse().map_err(|_| ApiError::invalid_parameter("cursor", "is not a cursor of this list"))
        };
        self.cursor.as_deref().map(parse).transpose()
    }

    /// The id after which the page starts, likewise.
    pub(crate) fn after<T: From<i64>>(&self) -> Result<Option<T>> {
        Ok(self.cursor::<PositiveId>()?.map(|PositiveId(id)| T::from(id)))
    }

    /// The most items to return. 400 if it is not 1 to 100.
    pub(crate) fn limit(&self) -> Result<i64> {
        match self.limit.unwrap_or(20) {
            limit @ 1..=100 => Ok(limit),
            limit => Err(ApiError::invalid_parameter("limit", format!("is {limit}; it must be 1 to 100"))),
        }
    }
}

/// An id in a cursor.
pub(crate) struct PositiveId(pub(crate) i64);

impl FromStr for PositiveId {
    type Err = ();

    fn from_str(text: &str) -> std::result::Result<Self, ()> {
        text.parse().ok().filter(|id| *id > 0).map(Self).ok_or(())
    }
}

/// How many of `items` make one page: at most `most`, and as many as fit into `bytes`, but at least one. `texts` are the texts of
/// an item.
pub(crate) fn fitting<'a, T: 'a, I: IntoIterator<Item = &'a str>>(
    items: impl Iterator<Item = &'a T> + Clone,
    most: usize,
    bytes: usize,
    texts: impl Fn(&'a T) -> I,
) -> usize {
    let items = items.take(most);
    // Texts are read only if they would not fit at their longest.
    let size = |item, length: fn(&str) -> usize| ITEM_BYTES + texts(item).into_iter().map(length).sum::<usize>();
    let (longest, all) =
        items.clone().fold((0, 0), |(sum, count), item| (sum + size(item, longest_json_length), count + 1));
    if longest <= bytes {
        return all;
    }
    let (mut sum, mut count) = (0, 0);
    for item in items {
        sum += size(item, json_length);
        if sum > bytes && count > 0 {
            break;
        }
        count += 1;
    }
    count
}

/// The most that [`json_length`] can be: a control character has six bytes in JSON.
fn longest_json_length(text: &str) -> usize {
    6 * text.len()
}

/// The length of a text as JSON, without the quotes.
fn json_length(text: &str) -> usize {
    let length = |byte| match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 0x08 | 0x0c => 2,
        0..0x20 => 6,
        _ => 1,
    };
    text.bytes().map(length).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_ends_at_its_items_or_at_its_bytes_and_has_at_least_one_item() {
        let fits = |sizes: &[usize], most| {
            let items: Vec<String> = sizes.iter().map(|size| "x".repeat(*size)).collect();
            fitting(items.iter(), most, PAGE_BYTES, |item| [item.as_str()])
        };
        assert_eq!(fits(&[], 3), 0);
        assert_eq!(fits(&[1, 1], 3), 2);
        assert_eq!(fits(&[1, 1, 1, 1], 3), 3);
        assert_eq!(fits(&[PAGE_BYTES / 2, PAGE_BYTES / 2 - 800, 1], 9), 2);
        assert_eq!(fits(&[PAGE_BYTES / 2, PAGE_BYTES / 2 - 799, 1], 9), 1);
        assert_eq!(fits(&[2 * PAGE_BYTES, 1], 9), 1);
    }

    #[test]
    fn the_length_is_that_of_the_json() {
        for text in ["", "plain", "\"\\\n\r\t\u{8}\u{c}", "\u{0}\u{1}\u{1f} \u{7f}", "é 文 😀 </script>\u{2028}"] {
            assert_eq!(json_length(text) + 2, serde_json::to_string(text).unwrap().len(), "{text:?}");
        }
    }
}
