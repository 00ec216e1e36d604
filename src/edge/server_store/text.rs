//! Values as literals of SQL, and columns of rows as values. Sessions run with `NO_BACKSLASH_ESCAPES`, so only quotes
//! are doubled.

use crate::edge::centreon_database::client::Row;
use crate::model::node_id::NodeId;

/// A value in a statement.
pub(super) enum Literal<'a> {
    Null,
    Text(&'a str),
    Number(i64),
    Id(u64),
    Real(f64),
}

impl<'a> From<&'a str> for Literal<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text)
    }
}

impl From<i64> for Literal<'_> {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

impl From<bool> for Literal<'_> {
    fn from(is_true: bool) -> Self {
        Self::Number(i64::from(is_true))
    }
}

impl From<f64> for Literal<'_> {
    fn from(number: f64) -> Self {
        Self::Real(number)
    }
}

impl From<NodeId> for Literal<'_> {
    fn from(node: NodeId) -> Self {
        Self::Id(node.get())
    }
}

impl<'a, T: Into<Self>> From<Option<T>> for Literal<'a> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Literal::Null, Into::into)
    }
}

impl Literal<'_> {
    /// Appends it to a statement.
    pub(super) fn put(&self, sql: &mut String) {
        match self {
            Self::Null => sql.push_str("NULL"),
            Self::Text(text) => {
                sql.reserve(text.len() + 2);
                sql.push('\'');
                for (index, part) in text.split('\'').enumerate() {
                    if index > 0 {
                        sql.push_str("''");
                    }
                    sql.push_str(part);
                }
                sql.push('\'');
            }
            Self::Number(number) => sql.push_str(&number.to_string()),
            Self::Id(number) => sql.push_str(&number.to_string()),
            // With an exponent it is a DOUBLE, not a DECIMAL.
            Self::Real(number) if number.is_finite() => sql.push_str(&format!("{number:e}")),
            Self::Real(_) => sql.push('0'),
        }
    }
}

/// Returns a literal as text.
pub(super) fn quoted<'a>(value: impl Into<Literal<'a>>) -> String {
    let mut sql = String::new();
    value.into().put(&mut sql);
    sql
}

/// Appends `(VALUE, …)`.
pub(super) fn put_tuple(sql: &mut String, values: &[Literal<'_>]) {
    sql.push('(');
    for (index, value) in values.iter().enumerate() {
        if index > 0 {
            sql.push(',');
        }
        value.put(sql);
    }
    sql.push(')');
}

/// The columns of a row, in their order; NULL and what does not parse is `None`.
pub(super) struct Columns(std::vec::IntoIter<Option<String>>);

impl Columns {
    pub(super) fn of(row: Row) -> Self {
        Self(row.into_iter())
    }

    pub(super) fn text(&mut self) -> Option<String> {
        self.0.next().flatten()
    }

    pub(super) fn number(&mut self) -> Option<i64> {
        self.text()?.parse().ok()
    }

    pub(super) fn real(&mut self) -> Option<f64> {
        self.text()?.parse().ok().filter(|number: &f64| number.is_finite())
    }

    pub(super) fn node(&mut self) -> Option<NodeId> {
        self.text()?.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_quoted_and_reals_are_doubles() {
        assert_eq!(quoted("it's \\ 'x'"), "'it''s \\ ''x'''");
        assert_eq!(quoted(1_770_000_000.123_45), "1.77000000012345e9");
        assert_eq!(quoted(None::<&str>), "NULL");
        let mut sql = String::new();
        put_tuple(&mut sql, &["a".into(), 1_i64.into(), Literal::Null]);
        assert_eq!(sql, "('a',1,NULL)");
    }
}
