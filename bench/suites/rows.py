"""One line of the comparison: who takes part, interleaved rounds, medians, ratios, targets."""

import statistics


class Contender:
    """`against` names the contender that its ratio is taken to; `target` is what to reach."""

    def __init__(self, name, load, *, against=None, target=None):
        self.name = name
        self.load = load
        self.against = against
        self.target = target
        self.count = None
        self.rates = []
        self.ratios = []


def measure_speed(title, contenders, options, *, count=None, cpus=None):
    """Rounds in which each runs once, each round beginning with another. For so many requests, or
    for the time that the options say. Prints the row and returns it."""
    cpus = cpus or options.cpu
    for one in contenders:
        one.count = count
        if count is None and one.load.counts_only:
            one.count = one.load.calibrate(cpus, options.seconds)
    for number in range(options.rounds):
        turn = number % len(contenders)
        for one in contenders[turn:] + contenders[:turn]:
            one.load.prepare()
            sample, _ = one.load.run(cpus, count=one.count, seconds=options.seconds)
            one.rates.append(sample.rate)
            if number == 0:
                one.load.verify()
    by_name = {one.name: one for one in contenders}
    for one in contenders:
        if one.against:
            yardstick = by_name[one.against].rates
            one.ratios = [rate / base for rate, base in zip(one.rates, yardstick)]
    row = {"title": title, "kind": "speed", "rounds": options.rounds,
           "contenders": [speed_json(one) for one in contenders]}
    print_speed(row)
    return row


def speed_json(one):
    ratio = statistics.median(one.ratios) if one.ratios else None
    return {"name": one.name, "requests_per_second": one.rates,
            "median": statistics.median(one.rates), "against": one.against, "ratio": ratio,
            "ratios": one.ratios, "target": one.target, "reached": reached(ratio, one.target)}


def reached(value, target, at_most=False):
    if value is None or target is None:
        return None
    return value <= target if at_most else value >= target


def verdict(one):
    if one["target"] is None:
        return ""
    return f"{one['target']:g} {'reached' if one['reached'] else 'MISSED'}"


def print_speed(row):
    print(f"\n{row['title']} (median of {row['rounds']})")
    print(f"  {'':34} {'per second':>11} {'from':>10} {'to':>10} {'ratio':>6} "
          f"{'from':>6} {'to':>6}  target")
    for one in row["contenders"]:
        rates = one["requests_per_second"]
        ratio = ""
        if one["ratios"]:
            ratio = f"{one['ratio']:6.3f} {min(one['ratios']):6.3f} {max(one['ratios']):6.3f}"
        line = (f"  {one['name']:34} {one['median']:11.0f} {min(rates):10.0f} {max(rates):10.0f} "
                f"{ratio:20}  {verdict(one)}")
        print(line.rstrip(), flush=True)


class Count:
    """A number that someone came to, what it is a number of, and a second opinion in words."""

    def __init__(self, name, value, *, target=None, note=""):
        self.name = name
        self.value = value
        self.target = target
        self.note = note


def count_row(title, counts):
    """For numbers of which less is better; they are counted and not timed. Prints and returns."""
    row = {"title": title, "kind": "count", "contenders": [
        {"name": one.name, "value": one.value, "target": one.target, "note": one.note,
         "reached": reached(one.value, one.target, at_most=True)} for one in counts]}
    print(f"\n{title}")
    for one in row["contenders"]:
        value = "not counted" if one["value"] is None else f"{one['value']:11.3f}"
        print(f"  {one['name']:44} {value:>11}  {verdict(one):14} {one['note']}".rstrip(),
              flush=True)
    return row
