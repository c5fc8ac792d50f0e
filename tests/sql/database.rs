//! Databases of one test each.

use hmac_propagator::management::ManagementError;
use hmac_propagator::management::sql::{SqlManagement, SqlOptions};
use hmac_propagator_support::{Database, Proxy, Scratch, SqlKind, SqlServer};
use sqlx::{AssertSqlSafe, Connection, Row};

/// A database that only one test uses, of one of the three kinds.
#[allow(clippy::large_enum_variant, reason = "a test has one or two of them")]
pub enum TestDatabase {
    Sqlite(Scratch),
    Server {
        database: Database,
        /// Outlives the database.
        server: SqlServer,
    },
}

impl TestDatabase {
    pub async fn sqlite() -> Self {
        Self::Sqlite(Scratch::new().unwrap())
    }

    pub async fn postgres() -> Self {
        Self::server(SqlKind::Postgres).await
    }

    pub async fn mariadb() -> Self {
        Self::server(SqlKind::MariaDb).await
    }

    /// On a server that no other test uses, to be killed.
    pub async fn private(kind: SqlKind) -> Self {
        Self::on(SqlServer::start_private(kind).await.unwrap()).await
    }

    async fn on(server: SqlServer) -> Self {
        Self::Server { database: server.database().await.unwrap(), server }
    }

    pub fn server_of(&self) -> &SqlServer {
        let Self::Server { server, .. } = self else { panic!("SQLite has no server") };
        server
    }

    pub fn url_via(&self, proxy: &Proxy) -> String {
        let Self::Server { database, .. } = self else { panic!("SQLite has no server") };
        database.url_via(proxy.address())
    }

    async fn server(kind: SqlKind) -> Self {
        let server = SqlServer::start(kind).await.unwrap();
        Self::on(server).await
    }

    pub fn is_postgres(&self) -> bool {
        self.url().starts_with("postgres:")
    }

    pub fn is_mariadb(&self) -> bool {
        self.url().starts_with("mysql:")
    }

    /// Brings the planner's statistics up to date.
    pub fn analyze(&self) -> &'static str {
        if self.is_mariadb() {
            return "ANALYZE TABLE hmac_credentials, hmac_credential_targets";
        }
        "ANALYZE"
    }

    pub fn url(&self) -> String {
        match self {
            Self::Sqlite(scratch) => format!("sqlite:{}/test.db", scratch.path().display()),
            Self::Server { database, .. } => database.url(),
        }
    }

    pub async fn open(&self) -> SqlManagement {
        self.open_with(SqlManagement::options()).await.unwrap()
    }

    pub async fn open_with(&self, options: SqlOptions) -> Result<SqlManagement, ManagementError> {
        options.connect(&self.url()).await
    }

    /// Runs statements as somebody with access to the database would, past the adapter. Answers the
    /// first column of every row, as text.
    pub async fn raw(&self, sql: &str) -> Vec<String> {
        match self {
            Self::Sqlite(_) => {
                let mut connection = sqlx::SqliteConnection::connect(&self.url()).await.unwrap();
                let query = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()));
                let rows = query.fetch_all(&mut connection).await.unwrap();
                rows.iter().map(|row| row.get_unchecked(0)).collect()
            }
            Self::Server { database, .. } => {
                let text = database.execute(sql).await.unwrap();
                text.lines().map(str::to_owned).collect()
            }
        }
    }
}
