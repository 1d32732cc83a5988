//! The tasks: what jobs call.

use std::thread;
use std::time::Duration;

use punctual::prelude::*;
use punctual::task::RegisterError;

use crate::database::Database;

/// The name under which jobs call [`task1`].
pub(crate) const TASK1: &str = "task1";
/// How soon work notices that it is to stop.
const STEP: Duration = Duration::from_millis(20);

/// Registers them.
pub(crate) fn register(registry: &mut Registry) -> Result<(), RegisterError> {
    registry.add_blocking(TASK1, task1)
}

/// Reads its row in the application's database, works as long as that says, and says what stands there.
///
/// The database comes from the scheduler ([`State`]): there is no application context to enter, as in Flask.
#[expect(
    clippy::needless_pass_by_value,
    reason = "a task owns what it asks for"
)]
fn task1(
    Args(task_id): Args<String>,
    database: State<Database>,
    run: RunContext,
) -> Result<(), String> {
    let row = database
        .row(&task_id)
        .map_err(|error| format!("the application's database cannot be read: {error}"))?;
    tracing::info!(
        job = %run.run().job_id,
        scheduled_at = %run.run().scheduled_at,
        attempt = run.run().attempt,
        fence = run.run().fence.0,
        "task1"
    );
    let Some(row) = row else {
        run.log(&format!("there is no row for task {task_id}"));
        return Ok(());
    };
    let mut left = row.work;
    while !left.is_zero() {
        if run.cancel_token().is_cancelled() {
            return Err("asked to stop before the work was done".to_owned());
        }
        let step = left.min(STEP);
        thread::sleep(step);
        left -= step;
    }
    run.log(&format!("{} (process {})", row.message, std::process::id()));
    Ok(())
}
