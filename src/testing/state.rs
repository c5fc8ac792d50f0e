//! What every [`StateStore`] must do.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::Instant;

use crate::state::{Committed, Key, StateStore, Transaction, Write};

/// How long a value with a life of 50 ms may outlast it.
const BOUND: Duration = Duration::from_secs(10);

/// Checks a state store. All keys start with `prefix`; for a Redis Cluster it holds a hash tag.
///
/// # Panics
/// At the first thing that is not as [`StateStore`] says.
pub async fn state_store_conformance(store: &dyn StateStore, prefix: &str) {
    let suite = Suite { store, prefix };
    store.ping().await.expect("the store answers");
    suite.what_is_written_is_read_in_order().await;
    suite.any_text_is_kept_as_it_is().await;
    suite.a_value_and_a_field_are_removed_alone().await;
    suite.a_check_that_fails_prevents_the_whole_transaction().await;
    suite.nothing_and_an_empty_text_are_different().await;
    suite.transactions_of_one_call_run_in_order_and_stand_alone().await;
    suite.values_pass_when_their_time_is_over_and_only_then().await;
    suite.no_update_is_lost_under_contention().await;
    suite.all_fields_of_a_hash_are_listed().await;
    suite.a_name_is_taken_once_and_each_caller_reads_its_own_keys().await;
    suite.a_name_is_free_again_when_its_time_is_over().await;
}

struct Suite<'a> {
    store: &'a dyn StateStore,
    prefix: &'a str,
}

impl Suite<'_> {
    fn value(&self, name: &str) -> Key {
        Key::value(format!("{}:{name}", self.prefix))
    }

    fn field(&self, name: &str, field: &str) -> Key {
        Key::field(format!("{}:{name}", self.prefix), field)
    }

    async fn get(&self, key: &Key) -> Option<String> {
        self.store.get(std::slice::from_ref(key)).await.unwrap().remove(0)
    }

    async fn commit(&self, transaction: Transaction) -> Committed {
        self.store.commit(&[transaction]).await.unwrap().remove(0)
    }

    async fn write(&self, write: Write) {
        let committed = self.commit(Transaction::default().write(write)).await;
        assert_eq!(committed, Committed::Done);
    }

    async fn what_is_written_is_read_in_order(&self) {
        let keys = [
            self.value("a"),
            self.field("hash", "one"),
            self.value("absent"),
            self.field("hash", "absent"),
            self.value("b"),
            self.field("other", "one"),
            self.field("absent", "one"),
            self.value("a"),
        ];
        assert_eq!(self.store.get(&keys).await.unwrap(), vec![None::<String>; 8]);
        for (index, text) in [(0, "1"), (1, "2"), (4, "3"), (5, "4")] {
            self.write(Write::set(keys[index].clone(), text)).await;
        }
        let expected = [Some("1"), Some("2"), None, None, Some("3"), Some("4"), None, Some("1")];
        let expected = expected.map(|text| text.map(str::to_owned));
        assert_eq!(self.store.get(&keys).await.unwrap(), expected);
        assert_eq!(self.store.get(&[]).await.unwrap(), Vec::new());
        assert_eq!(self.store.commit(&[]).await.unwrap(), Vec::new());
    }

    async fn any_text_is_kept_as_it_is(&self) {
        let long = "x".repeat(100_000);
        for text in ["", " ", "n", "s", "0", "a:b", "é\u{1F511}", "line\nline", "\0", &long] {
            for key in [self.value("text"), self.field("texts", text), self.field("texts", "f")] {
                self.write(Write::set(key.clone(), text)).await;
                assert_eq!(self.get(&key).await.as_deref(), Some(text));
                // And it is found equal to itself.
                let unchanged = Transaction::default().check(key.clone(), Some(text.to_owned()));
                let again = unchanged.write(Write::set(key, text));
                assert_eq!(self.commit(again).await, Committed::Done);
            }
        }
    }

    async fn a_value_and_a_field_are_removed_alone(&self) {
        let (gone, stays) = (self.field("removal", "gone"), self.field("removal", "stays"));
        let value = self.value("removed");
        for key in [&gone, &stays, &value] {
            self.write(Write::set(key.clone(), "x")).await;
        }
        self.write(Write::remove(gone.clone())).await;
        self.write(Write::remove(value.clone())).await;
        // Once more: removing what is not there is done.
        self.write(Write::remove(value.clone())).await;
        self.write(Write::remove(gone.clone())).await;
        assert_eq!(self.get(&gone).await, None);
        assert_eq!(self.get(&value).await, None);
        assert_eq!(self.get(&stays).await.as_deref(), Some("x"));
    }

    async fn a_check_that_fails_prevents_the_whole_transaction(&self) {
        let (one, two) = (self.value("check-one"), self.field("check", "two"));
        self.write(Write::set(one.clone(), "1")).await;
        let attempt = |first: Option<&str>, second: Option<&str>| {
            Transaction::default()
                .check(one.clone(), first.map(str::to_owned))
                .check(two.clone(), second.map(str::to_owned))
                .write(Write::set(one.clone(), "2"))
                .write(Write::set(two.clone(), "2"))
        };
        for (first, second) in [(None, None), (Some("0"), None), (Some("1"), Some("1"))] {
            assert_eq!(self.commit(attempt(first, second)).await, Committed::Conflict);
            assert_eq!(self.get(&one).await.as_deref(), Some("1"));
            assert_eq!(self.get(&two).await, None);
        }
        assert_eq!(self.commit(attempt(Some("1"), None)).await, Committed::Done);
        assert_eq!(self.get(&one).await.as_deref(), Some("2"));
        assert_eq!(self.get(&two).await.as_deref(), Some("2"));
    }

    async fn nothing_and_an_empty_text_are_different(&self) {
        for key in [self.value("empty"), self.field("empties", "f")] {
            let expecting = |expected: Option<&str>| {
                let checked =
                    Transaction::default().check(key.clone(), expected.map(str::to_owned));
                checked.write(Write::set(key.clone(), ""))
            };
            assert_eq!(self.commit(expecting(Some(""))).await, Committed::Conflict);
            assert_eq!(self.commit(expecting(None)).await, Committed::Done);
            assert_eq!(self.commit(expecting(None)).await, Committed::Conflict);
            assert_eq!(self.commit(expecting(Some(""))).await, Committed::Done);
        }
    }

    async fn transactions_of_one_call_run_in_order_and_stand_alone(&self) {
        let (key, other) = (self.value("order"), self.value("order-other"));
        let step = |expected: Option<&str>, next: &str| {
            Transaction::default()
                .check(key.clone(), expected.map(str::to_owned))
                .write(Write::set(key.clone(), next))
        };
        let failing = step(Some("nonsense"), "x").write(Write::set(other.clone(), "x"));
        let calls = [step(None, "1"), failing, step(Some("1"), "2"), step(Some("1"), "3")];
        assert_eq!(
            self.store.commit(&calls).await.unwrap(),
            [Committed::Done, Committed::Conflict, Committed::Done, Committed::Conflict]
        );
        assert_eq!(self.get(&key).await.as_deref(), Some("2"));
        assert_eq!(self.get(&other).await, None);
    }

    async fn values_pass_when_their_time_is_over_and_only_then(&self) {
        let short = Duration::from_millis(50);
        let (kept, prolonged) = (self.value("kept"), self.value("prolonged"));
        let passing = self.value("passing");
        self.write(Write::set_for(kept.clone(), "1", short)).await;
        self.write(Write::set_for(prolonged.clone(), "1", short)).await;
        self.write(Write::set(kept.clone(), "2")).await;
        self.write(Write::set_for(prolonged.clone(), "2", Duration::from_secs(3600))).await;
        // Written last, so that the others would be gone when this one is.
        self.write(Write::set_for(passing.clone(), "1", short)).await;
        let until = Instant::now() + BOUND;
        while self.get(&passing).await.is_some() {
            assert!(Instant::now() < until, "a value of 50 ms is still there");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(self.get(&kept).await.as_deref(), Some("2"));
        assert_eq!(self.get(&prolonged).await.as_deref(), Some("2"));
        // What has passed is nothing to a check as well.
        let anew = Transaction::default().check(passing.clone(), None);
        assert_eq!(self.commit(anew.write(Write::set(passing, "2"))).await, Committed::Done);
    }

    async fn no_update_is_lost_under_contention(&self) {
        const WRITERS: u32 = 8;
        const EACH: u32 = 25;
        let (key, mirror) = (self.value("counter"), self.field("counters", "mirror"));
        let add_one = async || loop {
            let read = self.store.get(&[key.clone(), mirror.clone()]).await.unwrap();
            let [count, mirrored] = &read[..] else { panic!("two values") };
            // Two keys of one transaction never show different states to a check that holds.
            let next = count.as_deref().map_or(0, |text| text.parse::<u32>().unwrap()) + 1;
            let transaction = Transaction::default()
                .check(key.clone(), count.clone())
                .check(mirror.clone(), mirrored.clone())
                .write(Write::set(key.clone(), next.to_string()))
                .write(Write::set(mirror.clone(), next.to_string()));
            if self.commit(transaction).await == Committed::Done {
                assert_eq!(count, mirrored);
                return;
            }
        };
        let writer = async || {
            for _ in 0..EACH {
                add_one().await;
            }
        };
        join_all((0..WRITERS).map(|_| writer())).await;
        let total = (WRITERS * EACH).to_string();
        assert_eq!(self.get(&key).await, Some(total.clone()));
        assert_eq!(self.get(&mirror).await, Some(total));
    }

    async fn all_fields_of_a_hash_are_listed(&self) {
        const FIELDS: usize = 1234;
        let name = format!("{}:listed", self.prefix);
        let field = |number: usize| self.field("listed", &format!("field {number}"));
        let writes = (0..FIELDS).map(|number| {
            Transaction::default().write(Write::set(field(number), number.to_string()))
        });
        self.store.commit(&writes.collect::<Vec<_>>()).await.unwrap();
        self.write(Write::remove(field(7))).await;
        self.write(Write::set(self.field("not-listed", "x"), "x")).await;
        let (mut found, mut after) = (BTreeMap::new(), None);
        loop {
            let (page, next) = self.store.fields(&name, after).await.unwrap();
            found.extend(page);
            after = next;
            if after.is_none() {
                break;
            }
        }
        let expected = (0..FIELDS).filter(|number| *number != 7);
        let expected = expected.map(|number| (format!("field {number}"), number.to_string()));
        assert_eq!(found, expected.collect());
        let absent = self.store.fields(&format!("{}:no-such-hash", self.prefix), None).await;
        assert_eq!(absent.unwrap(), (Vec::new(), None));
    }

    async fn a_name_is_taken_once_and_each_caller_reads_its_own_keys(&self) {
        const NAMES: u32 = 200;
        let writes = (0..NAMES).map(|number| {
            let key = self.field("read-beside", &number.to_string());
            Transaction::default().write(Write::set(key, format!("of {number}")))
        });
        self.store.commit(&writes.collect::<Vec<_>>()).await.unwrap();
        let claim = async |number: u32| {
            let keys = [
                self.field("read-beside", &number.to_string()),
                self.value("absent"),
                self.field("read-beside", "absent"),
            ];
            let name = format!("{}:taken:{number}", self.prefix);
            let (read, free) = self
                .store
                .read_and_claim(&keys, name.clone(), Duration::from_secs(3600))
                .await
                .unwrap();
            assert_eq!(read, [Some(format!("of {number}")), None, None]);
            (number, free)
        };
        // Three callers for each name, all at once.
        let claims = join_all((0..3 * NAMES).map(|index| claim(index % NAMES))).await;
        let mut taken: Vec<u32> =
            claims.into_iter().filter(|(_, free)| *free).map(|(number, _)| number).collect();
        taken.sort_unstable();
        assert_eq!(taken, (0..NAMES).collect::<Vec<_>>());
    }

    async fn a_name_is_free_again_when_its_time_is_over(&self) {
        let name = format!("{}:taken-for-a-while", self.prefix);
        let claim = async || {
            let life = Duration::from_millis(50);
            self.store.read_and_claim(&[], name.clone(), life).await.unwrap().1
        };
        assert!(claim().await);
        let until = Instant::now() + BOUND;
        while !claim().await {
            assert!(Instant::now() < until, "a name of 50 ms is still taken");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}
