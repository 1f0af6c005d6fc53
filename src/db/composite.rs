//! Rows that a statement returns as one value.
//!
//! The columns of a comment stand beside other columns in most statements: those that decide on access, or those that hold for
//! a whole page. So a statement returns each comment as one composite value, `row(..)`, or an array of them. sqlx decodes the
//! value field by field. A null in a field that takes none, or a field of another type, is an error and never a missing row.

/// Declares such a row, and the macro that checks and runs its statements.
///
/// Each column stands once, beside its field, because a composite value has no names: PostgreSQL sends its fields in the order
/// of `row(..)`. The macro is [`sqlx::query!`] with the statement in two parts. `row(..)` comes between them.
///
/// ```ignore
/// composite! {
///     /// A comment. Statements call it `k`.
///     struct CommentRow in query_comment! {
///         id: CommentId = "k.id",
///         text: String = "k.text",
///     }
/// }
/// query_comment!("select ", r#" as "comment!: CommentRow" from comments k where k.id = $1"#, id as _);
/// ```
macro_rules! composite {
    ($($declaration:tt)*) => {
        // The `$` is for the macro that is declared inside of this one.
        $crate::db::composite::declare! { ($) $($declaration)* }
    };
}

/// What [`composite`] expands to.
macro_rules! declare {
    (
        ($dollar:tt)
        $(#[$attribute:meta])*
        $visibility:vis struct $row:ident in $query:ident! {
            $(#[$first_attribute:meta])* $first_visibility:vis $first:ident: $first_type:ty = $first_column:literal,
            $($(#[$field_attribute:meta])* $field_visibility:vis $field:ident: $type:ty = $column:literal,)*
        }
    ) => {
        $(#[$attribute])*
        #[derive(Debug, sqlx::Type)]
        #[sqlx(type_name = "record")]
        $visibility struct $row {
            $(#[$first_attribute])* $first_visibility $first: $first_type,
            $($(#[$field_attribute])* $field_visibility $field: $type,)*
        }

        macro_rules! $query {
            ($dollar before:literal, $dollar after:literal $dollar(, $dollar argument:expr)* $dollar(,)?) => {
                sqlx::query!(
                    $dollar before + "row(" + $first_column $(+ ", " + $column)* + ")" + $dollar after
                    $dollar(, $dollar argument)*
                )
            };
        }
    };
}

pub(crate) use {composite, declare};
