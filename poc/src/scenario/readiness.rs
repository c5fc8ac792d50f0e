//! The peers are there, and know each other.

use crate::Result;
use crate::mesh::{ALL, AUTHORITY, BILLING, CONSUMER, FULL, Mesh, ORDERS, TARGETS};
use crate::page::Page;

pub(super) async fn ready(mesh: &Mesh, page: &mut Page) -> Result<()> {
    println!(
        "A mesh of five processes on one RabbitMQ, each with its own Redis. Four are `propagator serve`,"
    );
    println!("made out of environment variables; `counter` is a service that embeds the library.");
    page.step("all peers are ready");
    page.note(&format!("RabbitMQ at {}", mesh.broker_address()));
    let mut rows =
        vec![["peer", "what it is", "pid", "HTTP", "Redis", "database"].map(str::to_owned)];
    for seat in mesh.seats() {
        let pid = seat.process.as_ref().map_or("-".into(), |process| process.pid().to_string());
        rows.push([
            seat.name.to_owned(),
            seat.role.describe().to_owned(),
            pid,
            mesh.url(seat.name)?,
            seat.redis.address().to_string(),
            seat.database.as_ref().map_or("-", |base| base.describe()).to_owned(),
        ]);
    }
    page.table(&rows);
    let mut ready = true;
    for name in ALL {
        ready &= mesh.admin(name)?.is_ready().await;
    }
    page.check("each of the five says so (/health/ready)", ready);
    let (mut pages, mut closed) = (true, true);
    for name in FULL {
        let admin = mesh.admin(name)?;
        let answer = admin.get("/").await?;
        pages &= answer.status == 200 && answer.body.as_str().is_some_and(|b| b.contains("<html"));
        closed &= admin.get_as_a_stranger("/").await?.status == 401
            && admin.get_as_a_stranger("/admin/state").await?.status == 401;
    }
    page.check("each full peer shows its page to who has the token", pages);
    page.check("and to nobody else, nor its state", closed);
    Ok(())
}

pub(super) async fn introduce(mesh: &Mesh, page: &mut Page) -> Result<()> {
    page.step("the directories: who is whose target");
    let mut added = true;
    for target in TARGETS {
        added &= mesh.introduce(AUTHORITY, target).await?.did(201, "target.create");
    }
    page.check(&format!("`{AUTHORITY}` knows {}", TARGETS.join(", ")), added);
    let mut known = true;
    for target in [ORDERS, BILLING] {
        known &= mesh.introduce(target, AUTHORITY).await?.did(201, "target.create");
    }
    page.check("the other full peers know it too, to sign their answers", known);
    let again = mesh.introduce(AUTHORITY, CONSUMER).await?;
    page.check("who is added again is changed", again.did(201, "target.update"));
    Ok(())
}
