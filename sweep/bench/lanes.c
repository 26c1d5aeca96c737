/* The kernel bench's strategies in C: time in the outer loop, lanes in the inner one.
 *
 * State is a structure of arrays over the lanes of a block, so that the compiler
 * vectorises the inner loops. What happens at every tick is free of branches; what is rare
 * (a fill, a clock period's end, equity crossing its high) is a loop over all lanes of its
 * own, free of branches too, which runs where any lane needs it. The order of operations
 * is that of sweep/kernel/accounting.py: the results are the same bits.
 *
 * LANES, the lanes of a block, comes from the command line.
 */
#include <stdint.h>
#include <string.h>

#define COLUMN __attribute__((aligned(64)))

typedef struct {
    /* the account, at every tick */
    double position[LANES] COLUMN, target[LANES] COLUMN, cash[LANES] COLUMN;
    double equity[LANES] COLUMN, high[LANES] COLUMN, trough[LANES] COLUMN;
    /* the strategy */
    double a[LANES] COLUMN, b[LANES] COLUMN, c[LANES] COLUMN;
    double age[LANES] COLUMN;
    double p[LANES] COLUMN, q[LANES] COLUMN, r[LANES] COLUMN, h[LANES] COLUMN;
    /* at fills */
    double trip[LANES] COLUMN, gross_profit[LANES] COLUMN, gross_loss[LANES] COLUMN;
    double sum_trade2[LANES] COLUMN, turnover[LANES] COLUMN, commission[LANES] COLUMN;
    double spread[LANES] COLUMN;
    int64_t entered[LANES] COLUMN, holding[LANES] COLUMN;
    int64_t fills[LANES] COLUMN, trades[LANES] COLUMN, wins[LANES] COLUMN, losses[LANES] COLUMN;
    /* at the ends of clock periods */
    double before[LANES] COLUMN, last[LANES] COLUMN;
    double s1[LANES] COLUMN, s2[LANES] COLUMN, s3[LANES] COLUMN, s4[LANES] COLUMN;
    double down2[LANES] COLUMN, lag[LANES] COLUMN;
    /* at the ends of spells below the high */
    double low[LANES] COLUMN, drop[LANES] COLUMN, drop_cash[LANES] COLUMN;
    int64_t high_ts[LANES] COLUMN, drop_ns[LANES] COLUMN;
} block;

static inline int64_t bits(double value)
{
    int64_t found;
    memcpy(&found, &value, sizeof found);
    return found;
}

static inline void settle(block *restrict s, int64_t ts, double bid, double ask, double rate)
{
    double crossed = 0.5 * (ask - bid);
    for (int l = 0; l < LANES; l++) {
        double old = s->position[l], target = s->target[l];
        double delta = target - old;
        double size = delta < 0.0 ? -delta : delta;
        double price = delta > 0.0 ? ask : bid;
        double notional = size * price;
        double commission = rate * notional;
        double cash = s->cash[l] - delta * price;
        int64_t filled = delta != 0.0;
        int64_t closes = filled & (old != 0.0);
        int64_t opens = filled & (target != 0.0);
        double held = old < 0.0 ? -old : old;
        double share = held / (filled ? size : 1.0);
        double profit = s->trip[l] + old * price - commission * share;
        double gain = closes & (profit > 0.0) ? profit : 0.0;
        double loss = closes & (profit < 0.0) ? profit : 0.0;
        double opening = -target * price - commission * (1.0 - share);
        s->cash[l] = cash - commission;
        s->position[l] = target;
        s->trades[l] += closes;
        s->holding[l] += closes ? ts - s->entered[l] : 0;
        s->sum_trade2[l] += closes ? profit * profit : 0.0;
        s->wins[l] += closes & (profit > 0.0);
        s->losses[l] += closes & (profit < 0.0);
        s->gross_profit[l] += gain;
        s->gross_loss[l] -= loss;
        s->trip[l] = opens ? opening : filled ? 0.0 : s->trip[l];
        s->entered[l] = opens ? ts : s->entered[l];
        s->fills[l] += filled;
        s->turnover[l] += notional;
        s->commission[l] += commission;
        s->spread[l] += size * crossed;
    }
}

static inline void close_period(block *restrict s, int first)
{
    for (int l = 0; l < LANES; l++) {
        double value = s->equity[l] / s->before[l] - 1.0;
        value = s->before[l] <= 0.0 ? __builtin_nan("") : value;
        double square = value * value;
        s->before[l] = s->equity[l];
        s->lag[l] += first ? 0.0 : value * s->last[l];
        s->last[l] = value;
        s->s1[l] += value;
        s->s2[l] += square;
        s->s3[l] += square * value;
        s->s4[l] += square * square;
        s->down2[l] += value < 0.0 ? square : 0.0;
    }
}

/* Begin and end spells below the high; `now` is this tick, `previous` the one before it. */
static inline void spells(block *restrict s, int64_t now, int64_t previous, int over)
{
    for (int l = 0; l < LANES; l++) {
        double high = s->high[l], trough = s->trough[l];
        int64_t under = trough < high;
        int64_t ends = under & (over | (s->equity[l] >= high));
        int64_t begins = !under & (s->equity[l] < high);
        double depth = high - trough, share = depth / high;
        int64_t since = now - s->high_ts[l];
        s->low[l] = ends & (trough < s->low[l]) ? trough : s->low[l];
        s->drop[l] = ends & (share > s->drop[l]) ? share : s->drop[l];
        s->drop_cash[l] = ends & (depth > s->drop_cash[l]) ? depth : s->drop_cash[l];
        s->drop_ns[l] = ends & (since > s->drop_ns[l]) ? since : s->drop_ns[l];
        s->high_ts[l] = begins ? previous : s->high_ts[l];
    }
}

static inline int64_t mark(block *restrict s, double mid)
{
    int64_t crossed = 0;
    for (int l = 0; l < LANES; l++) {
        double equity = s->cash[l] + s->position[l] * mid;
        s->equity[l] = equity;
        crossed |= (int64_t)(equity < s->high[l]) ^ (int64_t)(s->trough[l] < s->high[l]);
    }
    return crossed;
}

static inline void extremes(block *restrict s, int l)
{
    double equity = s->equity[l], high = s->high[l], trough = s->trough[l];
    double lower = equity < trough ? equity : trough;
    s->trough[l] = equity < high ? lower : equity;
    s->high[l] = equity < high ? high : equity;
}

static inline int64_t step_crossover(block *restrict s, double mid)
{
    int64_t changed = 0;
    for (int l = 0; l < LANES; l++) {
        extremes(s, l);
        double fast = s->a[l] + s->p[l] * (mid - s->a[l]);
        double slow = s->b[l] + s->q[l] * (mid - s->b[l]);
        double target = fast > slow ? 1.0 : -1.0;
        changed |= bits(target) ^ bits(s->position[l]);
        s->a[l] = fast;
        s->b[l] = slow;
        s->target[l] = target;
    }
    return changed;
}

/* Whether a lane wants another position; in step_band's own loop gcc would not have it. */
static inline int64_t orders(const block *restrict s)
{
    int64_t changed = 0;
    for (int l = 0; l < LANES; l++)
        changed |= bits(s->target[l]) ^ bits(s->position[l]);
    return changed;
}

static inline int64_t step_band(block *restrict s, double mid)
{
    for (int l = 0; l < LANES; l++) {
        extremes(s, l);
        double weight = s->p[l], side = s->target[l], price = s->c[l], age = s->age[l] + 1.0;
        double off = mid - s->a[l];
        double variance = (1.0 - weight) * (s->b[l] + weight * (off * off));
        double against = off > 0.0 ? -1.0 : 1.0;
        double wanted = off * off > s->q[l] * variance ? against : 0.0;
        double kept = (price - mid) * side > s->r[l] * price ? 0.0 : side;
        kept = age >= s->h[l] ? 0.0 : kept;
        kept = off * side >= 0.0 ? 0.0 : kept;
        double target = side == 0.0 ? wanted : kept;
        s->a[l] = s->a[l] + weight * off;
        s->b[l] = variance;
        /* Neither is read while flat. */
        s->c[l] = side == 0.0 ? mid : price;
        s->age[l] = side == 0.0 ? 0.0 : age;
        s->target[l] = target;
    }
    return orders(s);
}

#define RUN(NAME, WIDTH, BEGIN)                                                               \
    static void block_##NAME(block *restrict s, const int64_t *restrict ts,                   \
                             const double *restrict bid, const double *restrict ask,          \
                             int64_t n, double rate, int64_t clock, int64_t *periods)         \
    {                                                                                         \
        int64_t changed = 0, closed = 0, bin_end = (ts[0] / clock + 1) * clock;               \
        for (int64_t i = 1; i < n; i++) {                                                     \
            double b = bid[i], a = ask[i], mid = 0.5 * (b + a);                               \
            if (ts[i] >= bin_end) {                                                           \
                close_period(s, closed == 0);                                                 \
                closed++;                                                                     \
                bin_end = (ts[i] / clock + 1) * clock;                                        \
            }                                                                                 \
            if (changed)                                                                      \
                settle(s, ts[i], b, a, rate);                                                 \
            if (mark(s, mid))                                                                 \
                spells(s, ts[i], ts[i - 1], 0);                                               \
            changed = step_##NAME(s, mid);                                                    \
        }                                                                                     \
        /* What is open is closed at the last tick; a lane without a position stays as it is. */ \
        int64_t now = ts[n - 1];                                                              \
        double held[LANES];                                                                   \
        for (int l = 0; l < LANES; l++) {                                                     \
            held[l] = s->position[l];                                                         \
            s->target[l] = 0.0;                                                               \
        }                                                                                     \
        settle(s, now, bid[n - 1], ask[n - 1], rate);                                         \
        for (int l = 0; l < LANES; l++)                                                       \
            s->equity[l] = held[l] != 0.0 ? s->cash[l] : s->equity[l];                        \
        spells(s, now, now, 0);                                                               \
        for (int l = 0; l < LANES; l++)                                                       \
            extremes(s, l);                                                                   \
        close_period(s, closed == 0);                                                         \
        spells(s, now, now, 1);                                                               \
        *periods = closed + 1;                                                                \
    }                                                                                         \
                                                                                              \
    void run_##NAME(const int64_t *restrict ts, const double *restrict bid,                   \
                    const double *restrict ask, int64_t n, const double *restrict params,     \
                    int64_t variants, double capital, double rate, int64_t clock,             \
                    double *restrict sums, int64_t *restrict counts)                          \
    {                                                                                         \
        static block memory;                                                                  \
        block *s = &memory;                                                                   \
        for (int64_t first = 0; first < variants; first += LANES) {                           \
            int64_t periods;                                                                  \
            memset(s, 0, sizeof *s);                                                          \
            for (int l = 0; l < LANES; l++) {                                                 \
                int64_t v = first + l < variants ? first + l : variants - 1;                  \
                const double *p = params + WIDTH * v;                                         \
                s->cash[l] = s->equity[l] = s->high[l] = s->trough[l] = capital;              \
                s->before[l] = s->low[l] = capital;                                           \
                s->high_ts[l] = ts[0];                                                        \
                s->a[l] = 0.5 * (bid[0] + ask[0]);                                            \
                BEGIN                                                                         \
            }                                                                                 \
            block_##NAME(s, ts, bid, ask, n, rate, clock, &periods);                          \
            for (int l = 0; l < LANES && first + l < variants; l++)                           \
                put(s, l, periods, sums + 17 * (first + l), counts + 7 * (first + l));        \
        }                                                                                     \
    }

static void put(const block *s, int l, int64_t periods, double *sums, int64_t *counts)
{
    double f[17] = {s->equity[l], s->high[l], s->low[l], s->drop[l], s->drop_cash[l],
                    s->s1[l], s->s2[l], s->s3[l], s->s4[l], s->down2[l], s->lag[l],
                    s->gross_profit[l], s->gross_loss[l], s->sum_trade2[l],
                    s->turnover[l], s->commission[l], s->spread[l]};
    int64_t c[7] = {s->drop_ns[l], periods, s->fills[l], s->trades[l],
                    s->wins[l], s->losses[l], s->holding[l]};
    memcpy(sums, f, sizeof f);
    memcpy(counts, c, sizeof c);
}

RUN(crossover, 2, {
    s->b[l] = s->a[l];
    s->p[l] = 2.0 / (p[0] + 1.0);
    s->q[l] = 2.0 / (p[1] + 1.0);
})

RUN(band, 4, {
    s->p[l] = 2.0 / (p[0] + 1.0);
    s->q[l] = p[1] * p[1];
    s->r[l] = p[2];
    s->h[l] = p[3];
})
