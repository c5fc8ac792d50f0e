//! Where the three databases differ in words.

use std::fmt::Write;

/// A database's own way of saying things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    Sqlite,
    Postgres,
    Mysql,
}

/// The type of a column of a batch.
#[derive(Clone, Copy, Debug)]
pub(super) enum Column {
    /// A track, client, target or event id: compared byte by byte.
    Name,
    /// Long text.
    Text,
    Int,
}

impl Dialect {
    /// `$1`, `$2`, … where the database wants them. No statement has a `?` but for a value.
    pub(super) fn placeholders(self, sql: &str) -> String {
        if self != Self::Postgres {
            return sql.to_owned();
        }
        let mut parts = sql.split('?');
        let mut out = parts.next().unwrap_or_default().to_owned();
        for (index, part) in parts.enumerate() {
            // Writing to a string does not fail.
            let _ = write!(out, "${}{part}", index + 1);
        }
        out
    }

    /// A table made of one value: a JSON array of arrays, one per row. So a batch of any length is
    /// one statement with one text, which the database prepares once.
    pub(super) fn batch(self, columns: &[(&str, Column)]) -> String {
        let each = columns.iter().enumerate();
        match self {
            Self::Sqlite => {
                let columns = each.map(|(index, (name, _))| format!("value ->> {index} AS {name}"));
                format!("(SELECT {} FROM json_each(?))", join(columns))
            }
            Self::Postgres => {
                let columns = each.map(|(index, (name, column))| {
                    let kind = if matches!(column, Column::Int) { "BIGINT" } else { "TEXT" };
                    format!("CAST(j.item ->> {index} AS {kind}) AS {name}")
                });
                format!(
                    "(SELECT {} FROM jsonb_array_elements(CAST(? AS jsonb)) AS j(item))",
                    join(columns)
                )
            }
            Self::Mysql => {
                let columns = each.map(|(index, (name, column))| {
                    let kind = match column {
                        Column::Name => {
                            "VARCHAR(256) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin"
                        }
                        Column::Text => "MEDIUMTEXT CHARACTER SET utf8mb4",
                        Column::Int => "BIGINT",
                    };
                    format!("{name} {kind} PATH '$[{index}]'")
                });
                format!("JSON_TABLE(?, '$[*]' COLUMNS ({}))", join(columns))
            }
        }
    }

    /// Updates `table AS t` from a batch `b`: `set` names columns and what they become.
    pub(super) fn update_from(
        self,
        table: &str,
        batch: &str,
        set: &[(&str, &str)],
        condition: &str,
    ) -> String {
        match self {
            Self::Sqlite | Self::Postgres => {
                let set = join(set.iter().map(|(column, value)| format!("{column} = {value}")));
                format!("UPDATE {table} AS t SET {set} FROM {batch} AS b WHERE {condition}")
            }
            Self::Mysql => {
                let set = join(set.iter().map(|(column, value)| format!("t.{column} = {value}")));
                format!(
                    "UPDATE {batch} AS b STRAIGHT_JOIN {table} AS t SET {set} WHERE {condition}"
                )
            }
        }
    }

    /// After the name of a table: use this index, whatever the statistics say of the size of what is
    /// asked for. PostgreSQL has no such word, and needs none.
    pub(super) fn by_index(self, index: &str) -> String {
        match self {
            Self::Sqlite => format!(" INDEXED BY {index}"),
            Self::Postgres => String::new(),
            Self::Mysql => format!(" FORCE INDEX ({index})"),
        }
    }

    /// At the end of a query: wait for the rows and keep others from changing them.
    pub(super) fn for_update(self) -> &'static str {
        match self {
            // Its transaction has the write lock of the whole database already.
            Self::Sqlite => "",
            Self::Postgres | Self::Mysql => " FOR UPDATE",
        }
    }

    /// As `for_update`, passing over rows that others hold.
    pub(super) fn for_update_skip_locked(self) -> &'static str {
        match self {
            Self::Sqlite => "",
            Self::Postgres | Self::Mysql => " FOR UPDATE SKIP LOCKED",
        }
    }

    /// At the end of a query: keep others from changing the rows, not from reading them.
    pub(super) fn for_share(self) -> &'static str {
        match self {
            Self::Sqlite => "",
            Self::Postgres => " FOR SHARE",
            Self::Mysql => " LOCK IN SHARE MODE",
        }
    }

    /// The database's clock in milliseconds since the epoch: the one that all workers share.
    pub(super) fn now_ms(self) -> &'static str {
        match self {
            Self::Sqlite => "CAST(unixepoch('subsec') * 1000 AS INTEGER)",
            Self::Postgres => "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)",
            Self::Mysql => "CAST(UNIX_TIMESTAMP(SYSDATE(3)) * 1000 AS SIGNED)",
        }
    }

    /// Rows whose columns, read as one, come after as many values (two or three): each dialect's
    /// form that its planner turns into a range of the index.
    pub(super) fn after(self, columns: &[&str]) -> String {
        match self {
            Self::Sqlite | Self::Postgres => {
                let values = vec!["?"; columns.len()].join(", ");
                format!("({}) > ({values})", columns.join(", "))
            }
            Self::Mysql => {
                let wider = columns.iter().enumerate().map(|(index, column)| {
                    let equal = columns[..index].iter().map(|column| format!("{column} = ? AND "));
                    format!("({}{column} > ?)", equal.collect::<String>())
                });
                format!("({})", wider.collect::<Vec<_>>().join(" OR "))
            }
        }
    }

    /// The values of [`Dialect::after`], as often as its form asks for them.
    pub(super) fn after_values(self, values: &[&str]) -> Vec<super::db::Value> {
        let repeated: Vec<&str> = match self {
            Self::Sqlite | Self::Postgres => values.to_vec(),
            Self::Mysql => (1..=values.len()).flat_map(|end| values[..end].to_vec()).collect(),
        };
        repeated.into_iter().map(Into::into).collect()
    }

    /// At the end of an `INSERT … SELECT`: rows that are there already stay as they are.
    pub(super) fn unless_present(self) -> &'static str {
        match self {
            // The grammar needs the condition to tell this from a join.
            Self::Sqlite => " WHERE 1 ON CONFLICT DO NOTHING",
            Self::Postgres => " ON CONFLICT DO NOTHING",
            Self::Mysql => " ON DUPLICATE KEY UPDATE track = VALUES(track)",
        }
    }
}

fn join(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_numbered_where_the_database_counts_them() {
        let sql = "a = ? AND b = ?";
        assert_eq!(Dialect::Postgres.placeholders(sql), "a = $1 AND b = $2");
        assert_eq!(Dialect::Mysql.placeholders(sql), sql);
    }

    #[test]
    fn each_form_of_after_takes_the_values_it_is_given() {
        for dialect in [Dialect::Sqlite, Dialect::Postgres, Dialect::Mysql] {
            let form = dialect.after(&["a", "b", "c"]);
            let values = dialect.after_values(&["x", "y", "z"]);
            assert_eq!(form.matches('?').count(), values.len(), "{form}");
        }
    }
}
