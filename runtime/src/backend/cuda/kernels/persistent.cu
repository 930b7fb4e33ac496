// A pass of one token by a grid that stays: one block a multiprocessor takes the steps of the pass one after the other, and all blocks
// wait for each other between them. Weights of the steps to come are on their way all the while: the rings go over the ends of steps.
//
// A block is a crew of twelve warps; a conductor, which waits for the other blocks and brings the steps' arguments; and three suppliers,
// which keep the crew's rings full. Eight of the crew are two teams where a step is made for four warps.

// The most steps whose arguments a block holds: the one in hand, and those whose weights may be on their way.
const u32 RESIDENT = 8;
// How far ahead of the step in hand its weights may be asked for: the conductor fills one place while the crew works.
const u32 LOOK_AHEAD = RESIDENT - 2;
// Steps that come with the launch itself.
const u32 ENCLOSED = 9;

enum Kind { MULTIPLY = 0, EMBED = 1, ANGLES = 2, RECUR = 3, ATTEND = 4, MERGE = 5, SEARCH = 6, PLACE = 7 };
enum Flags {
    // All blocks wait for each other before it.
    WAITS = 1,
    // What only this step writes may be read before that: the step in front does not write it.
    EARLY = 2,
};

struct Step {
    union {
        Linear linear;
        Table table;
        Angles angles;
        Recurrence recurrence;
        Attend attend;
        Search search;
        uint4 words[27];
    };
    u32 kind;
    u32 flags;
    // The next step that multiplies, or the number of steps.
    u32 next;
    u32 padding;
};
static_assert(sizeof(Step) == 448, "as the host has it");

struct Pass {
    // Null: they are enclosed.
    const Step *steps;
    // Zero between passes.
    u32 *arrived;
    u32 count;
    u32 padding[3];
    uint4 enclosed[ENCLOSED * sizeof(Step) / 16];
};

const u32 CONDUCTOR = CREW_WARPS, SUPPLIERS = 3;
// Warps of the crew that a supplier is for: a lane each.
const u32 OF_SUPPLIER = CREW_WARPS / SUPPLIERS;
const u32 TEAM = 128;
const u32 TEAMS = 2;

// How often a block looks whether all others have arrived: each time takes half a microsecond or more.
const u32 MOST_POLLS = 100 << 20;

const u32 SMALL_AT = RESIDENT * sizeof(Step);
// The step in hand and whether the block waits, which the suppliers are told, and what each of the crew knows of itself.
const u32 BOARD_AT = SMALL_AT + 128;
const u32 PARTS_AT = BOARD_AT + 128;
// x of a product, with room for 16 Ki columns, or what teams need.
const u32 WORK_AT = PARTS_AT + PARTS_OF_GRAINS * 4;
const u32 WORK = 36 << 10;
const u32 OF_TEAM = WORK / TEAMS;
static_assert(OF_TEAM >= sizeof(OneSpace<256>), "room for a team");
// Barriers for each place of a ring, which copies and the crew arrive at, and the rings.
const u32 FULL_AT = WORK_AT + WORK;
const u32 STAGES = (SHARED - FULL_AT - 128) / (CREW_WARPS * (SLOT + 16));
const u32 EMPTY_AT = FULL_AT + CREW_WARPS * STAGES * 8;
const u32 RING_AT = (EMPTY_AT + CREW_WARPS * STAGES * 8 + 127) / 128 * 128;
static_assert(STAGES >= 2, "room to read ahead");
// Places of a ring that are on their way at a time: for later steps, and for the one in hand.
const u32 UNDER_WAY = 1, UNDER_WAY_NOW = STAGES > 2 ? 2 : 1;
// Lanes of a supplier that arrive at a barrier of a place.
#if __CUDA_ARCH__ >= 900
const u32 ARRIVALS = 1;
#else
const u32 ARRIVALS = 32;
#endif

// Of a block.
const u32 THREADS = CREW + 32 + SUPPLIERS * 32;
// Barriers of a block: 3 is the crew's, from 4 on the teams'.
const u32 ARRIVED = 1, RELEASED = 2, TEAM_BARRIER = 4, EVERYBODY = CREW + 32;

// What stands in shared memory.
INLINE Step *resident() { return (Step *)shared; }

// Where the number of the step in hand stands.
INLINE u32 current_at() { return shared_address(shared) + BOARD_AT; }
// Where it stands whether the block waits for the others.
INLINE u32 waiting_at() { return current_at() + (1 + 2 * CREW_WARPS) * 4; }
// Where it stands how far a warp of the crew has read its ring, and the number of its step: nobody else's.
INLINE u32 read_at(u32 warp) { return current_at() + (1 + warp) * 4; }
INLINE u32 step_at(u32 warp) { return current_at() + (1 + CREW_WARPS + warp) * 4; }

INLINE void block_sync(u32 barrier) { asm volatile("bar.sync %0, %1;" ::"r"(barrier), "n"(EVERYBODY) : "memory"); }
INLINE void block_arrive(u32 barrier) { asm volatile("bar.arrive %0, %1;" ::"r"(barrier), "n"(EVERYBODY) : "memory"); }

// How long a supplier pauses where there is nothing to do, in nanoseconds.
const u32 PAUSE = 40;

INLINE u32 full_of(u32 warp, u32 place) { return shared_address(shared) + FULL_AT + (warp * STAGES + place) * 8; }
INLINE u32 empty_of(u32 warp, u32 place) { return shared_address(shared) + EMPTY_AT + (warp * STAGES + place) * 8; }
INLINE u32 slot_of(u32 warp, u32 place) { return RING_AT + (warp * STAGES + place) * SLOT; }

// The units of a warp of the crew, of one product after the other, on their way into its ring: kept by one lane of a supplier. Few
// places are on their way at a time: of all warps together as many as keep the memory busy. What asks for anything else, such as
// activations and the other blocks, would wait behind more.
struct Supply {
    u32 count;
    // The warp that it is for.
    u32 warp;
    // Where the next units go.
    u32 place;
    u32 parity;
    // `step` is the one whose units are asked for next: it is over where `left` is 0. `next` is the one behind it that multiplies.
    u32 next;
    u32 left;
    u32 step;
    // Of the step: its arguments, units of a tile, bytes of the values of a unit, and how its tiles follow.
    const Linear *linear;
    u32 groups;
    u32 bytes;
    // Units that fit a place.
    u32 most;
    bool paired;
    bool has_zeros;
    // The matrix and, in a pair, the tile in hand; units until they end.
    u32 index;
    u32 tile;
    u32 run;
    // The next unit, and its scales and zero points, which are those of `ratio` units each.
    const u8 *values;
    const u8 *scales;
    const u8 *zeros;
    u32 side_left;
    u32 ratio;

    METHOD Supply(u32 number, u32 of_warp)
        : count(number), warp(of_warp), place(0), parity(0), next(0), left(0), step(0) {
        next = thread_index() % 32 >= OF_SUPPLIER ? count : resident()[0].kind == MULTIPLY ? 0 : resident()[0].next;
    }

    // From unit `group` of the tile on.
    METHOD void enter(u32 group) {
        const Matrix &m = linear->matrices[index];
        const u32 unit = tile * groups + group;
        ratio = m.group == linear->unit ? 1 : m.group / linear->unit;
        const u32 of_scales = ratio == 1 ? unit : unit / ratio;
        values = m.values + (size_t)unit * bytes;
        scales = (const u8 *)m.scales + (size_t)of_scales * 32;
        zeros = m.zeros + (size_t)of_scales * 8;
        side_left = ratio == 1 ? 1 : ratio - unit % ratio;
        run = paired ? groups - group : (m.rows + 15) / 16 * groups - unit;
    }

    // Whether there is a unit to ask for: goes on to the next product that the warp has a part of, if its arguments are here.
    METHOD bool has_unit() {
        while (left == 0 && next < count) {
            const u32 current = told(current_at());
            if (next > current + LOOK_AHEAD) return false;
            // Behind the step in hand only if the warp had no part of what came between, whose arguments may be gone.
            const u32 at = max(next, current);
            const Step &one = resident()[at % RESIDENT];
            if (one.kind == MULTIPLY) take(one.linear);
            step = at;
            next = one.kind == MULTIPLY || at > next ? one.next : next;
            if (told(current_at()) > at) {
                // It is over meanwhile, and what has been read may be of another step.
                left = 0;
                next = at;
            }
        }
        return left > 0;
    }

    // The warp's part of a product.
    METHOD void take(const Linear &of_step) {
        linear = &of_step;
        const Share share(*linear, warp);
        left = share.end - share.first;
        if (left == 0) return;
        paired = linear->matrices[0].ending == SWIGLU;
        has_zeros = linear->matrices[0].format == INT4 && linear->matrices[0].zeros;
        bytes = unit_bytes(*linear);
        most = min(SLOT_UNITS, SLOT_VALUES / bytes);
        groups = groups_of(*linear);
        const u32 grain = quotient(share.first, share.of_grain);
        u32 group = share.first - grain * share.of_grain;
        const u32 number = share.first_grain + grain;
        if (paired) {
            index = group >= groups;
            group -= index * groups;
            tile = number;
        } else {
            tile = tile_of(*linear, number, index);
        }
        enter(group);
    }

    // Whether so much has arrived that more may be asked for. What the step in hand multiplies comes before what later ones do, and
    // nothing is to be in the way while the block waits for the others.
    METHOD bool may_ask() const {
        if (told(waiting_at())) return false;
        const u32 most = step <= told(current_at()) ? UNDER_WAY_NOW : UNDER_WAY;
        const bool is_of_turn = place >= most;
        return barrier_passed(full_of(warp, is_of_turn ? place - most : place + STAGES - most), is_of_turn ? parity : parity ^ 1);
    }

    METHOD bool is_done() const { return left == 0 && next >= count; }

    // How many units go together: neighbours, each with scales of its own.
    METHOD u32 together() const { return ratio > 1 ? 1 : min(min(left, run), most); }

    // Goes behind `units` that have been asked for.
    METHOD void advance(u32 units) {
        if (++place == STAGES) {
            place = 0;
            parity ^= 1;
        }
        values += units * bytes;
        if (ratio == 1) {
            scales += units * 32;
            zeros += units * 8;
        } else if (--side_left == 0) {
            scales += 32;
            zeros += 8;
            side_left = ratio;
        }
        left -= units;
        run -= units;
        if (run > 0 || left == 0) return;
        // The other tile of a pair, or the next matrix.
        if (paired) {
            tile += index;
            index ^= 1;
        } else {
            tile = 0;
            index++;
        }
        enter(0);
    }
};

// A lane for each of some warps of the crew: whenever units have arrived and there is room, the next are asked for. Lanes stay together:
// what tells the copying unit of addresses belongs to the whole warp.
INLINE void supply(const Pass &p) {
    const u32 lane = thread_index() % 32, warp = (warp_index() - CONDUCTOR - 1) * OF_SUPPLIER + min(lane, OF_SUPPLIER - 1);
    Supply own(p.count, warp);
#if __CUDA_ARCH__ >= 900
    const u64 policy = leaves_first();
#endif
    while (__any_sync(FULL_WARP, !own.is_done())) {
        const bool ready = barrier_passed(empty_of(warp, own.place), own.parity ^ 1) && own.has_unit() && own.may_ask();
        __syncwarp();
        const u32 all = __ballot_sync(FULL_WARP, ready);
        if (all == 0) {
            // Others work while there is nothing to do.
            __nanosleep(PAUSE);
            continue;
        }
        const u32 slot = slot_of(warp, own.place), to = shared_address(shared) + slot;
        const u32 units = ready ? own.together() : 0, half = ready && own.has_zeros ? (u32)(u64)own.zeros & 8 : 0;
        const u32 of_zeros = ready && own.has_zeros ? (units * 8 + half + 15) / 16 * 16 : 0;
        const u32 full = full_of(warp, own.place);
        if (ready) *(volatile u32 *)((char *)shared + slot + SLOT_SAYS) = units * 16 + half;
        __syncwarp();
        for (u32 rest = all; rest; rest &= rest - 1) {
            const u32 one = __ffs(rest) - 1;
#if __CUDA_ARCH__ >= 900
            if (lane == one) {
                barrier_expect(full, units * (own.bytes + 32) + of_zeros);
                copy_bulk(to, own.values, units * own.bytes, full, policy);
                copy_bulk(to + SLOT_SCALES, own.scales, units * 32, full, policy);
                if (of_zeros) copy_bulk(to + SLOT_ZEROS, own.zeros - half, of_zeros, full, policy);
            }
            __syncwarp();
#else
            const u8 *values = (const u8 *)__shfl_sync(FULL_WARP, (u64)own.values, one);
            const u8 *scales = (const u8 *)__shfl_sync(FULL_WARP, (u64)own.scales, one);
            const u8 *zeros = (const u8 *)__shfl_sync(FULL_WARP, (u64)(own.zeros - half), one);
            const u32 there = __shfl_sync(FULL_WARP, to, one), at = __shfl_sync(FULL_WARP, full, one);
            const u32 bytes = __shfl_sync(FULL_WARP, units * own.bytes, one), sides = __shfl_sync(FULL_WARP, units * 32, one);
            const u32 points = __shfl_sync(FULL_WARP, of_zeros, one);
            for (u32 i = lane * 16; i < bytes; i += 512) copy_async(there + i, values + i, true);
            if (lane * 16 < sides) copy_async(there + SLOT_SCALES + lane * 16, scales + lane * 16, true);
            if (lane * 16 < points) copy_async(there + SLOT_ZEROS + lane * 16, zeros + lane * 16, true);
            barrier_follow_copies(at);
#endif
        }
        if (ready) own.advance(units);
        __syncwarp();
    }
}

// What a product sees of its warp's ring.
struct Units {
    // The place that is read next, and the parity of its barrier.
    u32 place;
    u32 parity;

    // From what `noted` returned in the step before.
    METHOD Units(u32 noted) : place(noted >> 1), parity(noted & 1) {}
    METHOD u32 noted() const { return place << 1 | parity; }

    // Waits for the next units. Returns where they are.
    METHOD const char *wait() {
        const u32 warp = thread_index() / 32;
        barrier_wait(full_of(warp, place), parity);
        return (const char *)shared + slot_of(warp, place);
    }

    // They have been read: their place is free.
    METHOD void release() {
        __syncwarp();
        if (thread_index() % 32 == 0) barrier_arrive(empty_of(thread_index() / 32, place));
        if (++place < STAGES) return;
        place = 0;
        parity ^= 1;
    }
};

// Step `at` of the pass, 16 bytes a lane.
INLINE uint4 words_of(const Pass &p, u32 at) {
    const u32 lane = thread_index() % 32, words = sizeof(Step) / 16;
    if (lane >= words) return make_uint4(0, 0, 0, 0);
    return p.steps ? ((const uint4 *)(p.steps + at))[lane] : p.enclosed[at * words + lane];
}

INLINE void keep_words(u32 at, uint4 words) {
    const u32 lane = thread_index() % 32;
    if (lane < sizeof(Step) / 16) ((uint4 *)(resident() + at % RESIDENT))[lane] = words;
}

INLINE void conduct(const Pass &p) {
    const u32 lane = thread_index() % 32;
    u32 expected = 0;
    // Nothing is in front of the first step.
    block_sync(RELEASED);
    for (u32 at = 1; at <= p.count; at++) {
        block_sync(ARRIVED);
        if (lane == 0) note(waiting_at(), 1);
        // The place of the step that has just been done is free.
        const u32 coming = at + RESIDENT - 1;
        if (at == p.count) {
            // Whoever is last leaves no trace.
            if (lane == 0) {
                __threadfence();
                if (atomicAdd(p.arrived, 1u) == expected + gridDim.x - 1) *p.arrived = 0;
            }
            return;
        }
        const bool waits = resident()[at % RESIDENT].flags & WAITS;
        if (waits) {
            expected += gridDim.x;
            if (lane == 0) asm volatile("red.release.gpu.global.add.u32 [%0], 1;" ::"l"(p.arrived) : "memory");
        }
        // Asked for behind the arrival, which would wait for it.
        uint4 words = {};
        if (coming < p.count) words = words_of(p, coming);
        if (waits) {
            if (lane == 0) {
                u32 polls = 0;
                u32 seen;
                do {
                    asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(seen) : "l"(p.arrived) : "memory");
                    // After some tens of seconds nobody will come any more: better an error than a host that waits for ever.
                    if (++polls == MOST_POLLS) __trap();
                } while (seen < expected);
            }
            __syncwarp();
        }
        // Told before the place is another step's: a supplier that is late sees that what it has read is over.
        if (lane == 0) {
            tell(current_at(), at);
            note(waiting_at(), 0);
        }
        __syncwarp();
        if (coming < p.count) keep_words(coming, words);
        block_sync(RELEASED);
    }
}

// A team of a step: it waits for the step in front once, and its warps for each other.
template <class Wait> struct Team {
    u32 number;
    Wait wait;
    bool waited;

    METHOD Team(Wait for_step) : number(thread_index() / TEAM), wait(for_step), waited(false) {}

    METHOD void once() {
        if (!waited) wait();
        waited = true;
    }
    METHOD void sync() const { asm volatile("bar.sync %0, %1;" ::"r"(TEAM_BARRIER + number), "n"(TEAM) : "memory"); }
};

// Attention of a single token by teams.
template <int TYPE, int DIM, class Wait> INLINE void attend_step(const Step &step, char *work, Wait wait) {
    const Attend &p = step.attend;
    Team<Wait> team(wait);
    OneSpace<DIM> &space = *(OneSpace<DIM> *)(work + team.number * OF_TEAM);
    // Asked for anew each time, to be in nobody's way.
    const auto all = [&] { return p.splits * (p.heads / p.group * ((p.group + p.rows - 1) / p.rows)); };
    const auto once = [&] { team.once(); };
    const auto sync = [&] { team.sync(); };
    // Teams of other multiprocessors come first. The item in hand stands in shared memory: no register is free for it.
    const auto put = [&](u32 item) {
        if (thread_index() % TEAM == 0) space.item = item;
        sync();
    };
    if (team.number < TEAMS) put(team.number * gridDim.x + blockIdx.x);
#pragma unroll 1
    while (team.number < TEAMS && space.item < all()) {
        // Nobody asks for what a team without tokens would leave.
        if (space.item % p.splits <= *p.first / BLOCK) attend_one<TYPE, DIM>(p, step.flags & EARLY, space, once, sync);
        const u32 next = space.item + TEAMS * gridDim.x;
        sync();
        put(next);
    }
    once();
}

template <int TYPE, int DIM> INLINE void run_pass(const Pass &p) {
    const u32 warp = warp_index(), lane = thread_index() % 32;
    if (warp == CONDUCTOR) {
        for (u32 at = 0; at < RESIDENT && at < p.count; at++) keep_words(at, words_of(p, at));
    } else if (warp == CONDUCTOR + 1) {
        if (lane < 2 + 2 * CREW_WARPS) tell(current_at() + lane * 4, 0);
        for (u32 i = lane; i < CREW_WARPS * STAGES; i += 32) {
            barrier_init(full_of(0, i), ARRIVALS);
            barrier_init(empty_of(0, i), 1);
        }
#if __CUDA_ARCH__ >= 900
        asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
#endif
    }
    __syncthreads();
    if (warp == CONDUCTOR) {
        conduct(p);
        return;
    }
    if (warp > CONDUCTOR) {
        supply(p);
        return;
    }
    // What a warp knows of itself from step to step stands in shared memory: some steps need all registers.
    for (;;) {
        const u32 at = told(step_at(warp_index()));
        if (at == p.count) return;
        u32 place = at % RESIDENT * sizeof(Step);
        // Not known to the compiler, which would keep the step's number in a register as well.
        asm volatile("" : "+r"(place));
        const Step &step = *(const Step *)((const char *)shared + place);
        float *const small = (float *)((char *)shared + SMALL_AT), *const parts = (float *)((char *)shared + PARTS_AT);
        char *const work = (char *)shared + WORK_AT;
        const u32 thread = thread_index(), warp = thread / 32, lane = thread % 32;
        const auto wait = [] { block_sync(RELEASED); };
        switch (step.kind) {
        case MULTIPLY: {
            Units units(told(read_at(warp)));
            multiply(step.linear, step.flags & EARLY, units, work, small, parts, wait);
            if (lane == 0) note(read_at(warp), units.noted());
            break;
        }
        case EMBED:
            wait();
            for (u32 c = blockIdx.x * CREW + thread; c < step.table.columns; c += gridDim.x * CREW) embed_column(step.table, 0, c);
            break;
        case ANGLES:
            wait();
            if (blockIdx.x == gridDim.x - 1) {
                for (u32 j = thread; j < step.angles.rotary / 2; j += CREW) rope_angle(step.angles, 0, j);
            }
            break;
        case RECUR: {
            const Recurrence &p = step.recurrence;
            Team<decltype(wait)> team(wait);
            const u32 parts_of_columns = (p.value_dim + 31) / 32, all = p.value_heads * parts_of_columns;
            RecurrenceSpace &space = *(RecurrenceSpace *)(work + team.number * OF_TEAM);
            const auto once = [&] { team.once(); };
            const auto sync = [&] { team.sync(); };
            for (u32 item = team.number < TEAMS ? team.number * gridDim.x + blockIdx.x : all; item < all; item += TEAMS * gridDim.x) {
                recur(p, item / parts_of_columns, item % parts_of_columns, step.flags & EARLY, space, once, sync);
            }
            once();
            break;
        }
        case ATTEND:
            attend_step<TYPE, DIM>(step, work, wait);
            break;
        case MERGE: {
            wait();
            const u32 all = step.attend.tokens * step.attend.heads * (step.attend.dim / 32);
            for (u32 number = warp * gridDim.x + blockIdx.x; number < all; number += CREW_WARPS * gridDim.x) attend_merge(step.attend, number);
            break;
        }
        case SEARCH: {
            wait();
            const Search &p = step.search;
            for (u32 item = blockIdx.x; item < p.rows * p.parts; item += gridDim.x) {
                const u64 value = warp_max(largest_of_part(p, item / p.parts, item % p.parts, thread, CREW));
                if (lane == 0) ((u64 *)parts)[warp] = value;
                crew_sync();
                if (warp == 0) {
                    const u64 of_block = warp_max(lane < CREW_WARPS ? ((u64 *)parts)[lane] : 0);
                    if (lane == 0) p.largest[item] = of_block;
                }
                crew_sync();
            }
            break;
        }
        case PLACE:
            wait();
            if (warp == 0) {
                for (u32 row = blockIdx.x; row < step.search.rows; row += gridDim.x) keep_place(step.search, row);
            }
            break;
        }
        __syncwarp();
        if (thread_index() % 32 == 0) note(step_at(thread_index() / 32), told(step_at(thread_index() / 32)) + 1);
        __syncwarp();
        block_arrive(ARRIVED);
    }
}

// One for each kind of cache: a model has one.
#define PERSISTENT(NAME, TYPE, DIM) \
    KERNEL __launch_bounds__(THREADS, 1) persistent_##NAME##_##DIM(const __grid_constant__ Pass p) { run_pass<TYPE, DIM>(p); }
PERSISTENT(f16, CACHE_F16, 128)
PERSISTENT(f16, CACHE_F16, 256)
PERSISTENT(int8, CACHE_INT8, 128)
PERSISTENT(int8, CACHE_INT8, 256)
