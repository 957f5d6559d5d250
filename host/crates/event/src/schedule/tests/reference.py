"""Ticks of cron expressions in 2026 by cronsim, as counts and digests for reference.rs.

    pip install cronsim==2.8 tzdata==2026.6
    PYTHONTZPATH= python reference.py > reference.tsv
"""

from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

from cronsim import CronSim

ZONES = """
Africa/Cairo Africa/Casablanca Africa/Nairobi America/Caracas America/Havana America/New_York
America/Nuuk America/Santiago America/Sao_Paulo America/St_Johns Antarctica/Troll Asia/Beirut
Asia/Gaza Asia/Kathmandu Asia/Kolkata Asia/Tehran Asia/Tokyo Atlantic/Azores Australia/Adelaide
Australia/Lord_Howe Europe/Berlin Europe/Dublin Europe/London Pacific/Apia Pacific/Chatham UTC
""".split()

EXPRESSIONS = """
0 0 * * *
30 0 * * *
30 1 * * *
30 2 * * *
0 3 * * *
0 2,14 * * *
15 0-23 * * *
5,35 0-4 * 2-4,9-11 *
*/10 * * * *
0 * * * *
*/7 1-3 * * *
0 */2 * * *
59 23 L * *
0 3 * * SUN
0 12 1,15 * FRI
30 1 * * 5L
0 9 LW * *
20 2 * * SUN#2
*/15 0 0,12 * * *
""".strip().splitlines()

# cronsim walks to an hour in steps of 3,600 s. Where the clock moves by half an hour, its steps
# pass by times that exist once: 02:00 of 5 April, and 12:00 of 5 April and 4 October.
WRONG = {("Australia/Lord_Howe", "0 */2 * * *"), ("Australia/Lord_Howe", "*/15 0 0,12 * * *")}


def seconds(expression, zone):
    """The Unix seconds of the ticks of 2026."""
    start = datetime(2026, 1, 1, tzinfo=timezone.utc)
    end = datetime(2027, 1, 1, tzinfo=timezone.utc)
    ticks = CronSim(expression, (start - timedelta(seconds=1)).astimezone(ZoneInfo(zone)))
    for tick in ticks:
        if tick >= end:
            return
        yield int(tick.timestamp())


for zone in ZONES:
    for expression in EXPRESSIONS:
        if (zone, expression) in WRONG:
            continue
        count, digest = 0, 0
        for second in seconds(expression, zone):
            count += 1
            digest = (digest * 6364136223846793005 + second) % 2**64
        print(zone, expression, count, f"{digest:016x}", sep="\t")
