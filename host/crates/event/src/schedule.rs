//! Schedules: cron expressions, rates and single times, in time zones.
