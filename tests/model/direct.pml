/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Direct mode: one window page, those that map it, and those that take it back.
 *
 * Documentation/direct-mode.rst describes the protocol. This is all of it that more than
 * one processor has part in: the entry, which guest and host change by compare-and-
 * exchange alone, and the host's shadow, which is under the leaf's lock. It is checked
 * over every interleaving, and sequentially consistent, as are the real one's steps: each
 * is a value-returning atomic operation, an exit, or under a lock.
 *
 * What begins with BROKEN leaves out something that the protocol demands, and with WITNESS
 * claims that something never happens which should: each has a counterexample.
 */

#ifndef MAPPERS
#define MAPPERS	2
#endif
#ifndef ROUNDS
#define ROUNDS	2
#endif

/* The entry: a use count, and above it two bits. */
#define COUNT(e)	((e) & 15)
#define PRESENT		16
#define SYNCED		32

byte entry;

/* The host's, under the lock. */
bool lock;
bool shadow;

/* The hardware's: the page table's entry, and the IOMMU's copy of it. */
bool pte;
bool tlb;

/* Long-term pins of the page. */
byte pins;

/* Mappings that device drivers hold: the device may access the page. */
byte in_use;

byte ended;
bool reclaimed;

#define ACQUIRE		atomic { !lock -> lock = true }
#define RELEASE		lock = false

/* A load; and what a mapper has read may be old when it acts upon it. */
#define LOAD(e)		e = entry

/* What is not used again makes no difference. */
#define FORGET(a, b, c)	atomic { a = 0; b = 0; c = false }

#define CMPXCHG(old, new, ok)	\
	d_step { if :: entry == (old) -> entry = (new); ok = true :: else -> ok = false fi }

/*
 * The host: out of the page table, out of the IOMMU, and only then does the page
 * lose its pin. Under the lock.
 */
inline take_out()
{
	pte = false;
#ifdef BROKEN_UNPIN_BEFORE_FLUSH
	pins--;
	tlb = false;
#else
	tlb = false;
	pins--;
#endif
	shadow = false
}

/* The host: SYNC of the page. It may refuse to pin. */
inline host_sync(t, refused)
{
	ACQUIRE;
	refused = false;
	LOAD(t);
	if
	:: (t & PRESENT) && !shadow ->
		if
		:: pins++;
		   pte = true;
		   shadow = true
		:: refused = true
		fi
	:: !(t & PRESENT) && shadow -> take_out()
	:: else
	fi;
	RELEASE
}

/* The host: SYNC of the page that only removes. */
inline host_sync_unmap(t)
{
	ACQUIRE;
#ifdef BROKEN_UNMAP_WITHOUT_LOOKING
	t = 0;
#else
	LOAD(t);
#endif
	if
	:: !(t & PRESENT) && shadow -> take_out()
	:: else
	fi;
	RELEASE
}

/* The host: takes the page if it is idle. The guest does not exit. */
inline host_reclaim(t, ok)
{
#ifndef BROKEN_RECLAIM_WITHOUT_LOCK
	ACQUIRE;
#endif
	LOAD(t);
	if
	:: shadow && (t & PRESENT) && COUNT(t) == 0 ->
#ifdef BROKEN_RECLAIM_CLEARS_FIRST
		pte = false;
		tlb = false;
#endif
#ifdef BROKEN_RECLAIM_STORES
		entry = 0;
		ok = true;
#else
		CMPXCHG(t, 0, ok);
#endif
		if
		:: ok ->
			take_out();
			reclaimed = true
#ifdef BROKEN_RECLAIM_CLEARS_FIRST
		:: else -> pte = true
#else
		:: else
#endif
		fi
	:: else
	fi;
#ifndef BROKEN_RECLAIM_WITHOUT_LOCK
	RELEASE
#endif
}

/* The guest: adds a use. @mapped: or the host has refused. */
inline map(e, t, ok, mapped)
{
	mapped = false;
	do
	:: LOAD(e);
	   if
#ifdef BROKEN_PRESENT_COUNTS_AS_SYNCED
	   :: e & PRESENT ->
#else
	   :: e & SYNCED ->
#endif
		CMPXCHG(e, e + 1, ok);
		if
		:: ok ->
			mapped = true;
			break
		:: else
		fi
	   :: else ->
#ifdef BROKEN_SYNCED_TOO_EARLY
		CMPXCHG(e, (e -> e + 1 : (PRESENT | SYNCED | 1)), ok);
#else
		CMPXCHG(e, (e -> e + 1 : (PRESENT | 1)), ok);
#endif
		if
		:: ok ->
			host_sync(t, refused);
			if
			:: refused -> put(e, ok)
			:: else ->
				mapped = true;
				set_synced(e, ok)
			fi;
			break
		:: else
		fi
	   fi
	od
}

/* The guest: the host has told that it has the entry, and somebody uses it. */
inline set_synced(e, ok)
{
	do
	:: LOAD(e);
	   assert(e & PRESENT && COUNT(e));
	   CMPXCHG(e, e | SYNCED, ok);
	   if
	   :: ok -> break
	   :: else
	   fi
	od
}

/*
 * The guest: takes a use away. An entry that the host never had does not stay when nobody
 * uses it.
 */
inline put(e, ok)
{
	do
	:: LOAD(e);
	   assert(COUNT(e));
#ifdef BROKEN_UNMAP_STORES
	   entry = e - 1;
	   break;
#else
	   CMPXCHG(e, (COUNT(e) == 1 && !(e & SYNCED) -> 0 : e - 1), ok);
	   if
	   :: ok -> break
	   :: else
	   fi
#endif
	od
}

proctype mapper()
{
	byte e, t, round;
	bool ok, mapped, refused;

	do
	:: round < ROUNDS ->
		round++;
		map(e, t, ok, mapped);
		if
		:: mapped ->
			in_use++;
			/* The device accesses it at any time from here on ... */
			in_use--;
			/* ... to here. */
			put(e, ok)
		:: else
		fi;
		FORGET(e, t, ok)
	:: else -> break
	od;
	ended++
}

/* The guest, to stay below its budget: clears an idle entry, then tells the host. */
proctype evictor()
{
	byte e, t, round;
	bool ok;

	do
	:: round < ROUNDS ->
		round++;
		LOAD(e);
		if
		:: e & SYNCED && COUNT(e) == 0 ->
			CMPXCHG(e, 0, ok);
			if
			:: ok -> host_sync_unmap(t)
			:: else
			fi
		:: else
		fi;
		FORGET(e, t, ok)
	:: else -> break
	od;
	ended++
}

proctype reclaimer()
{
	byte t, round;
	bool ok;

	do
	:: round < ROUNDS ->
		round++;
		host_reclaim(t, ok);
		FORGET(t, t, ok)
	:: else -> break
	od;
	ended++
}

/*
 * What may never be seen. The device loads its copy whenever it likes, uses it whenever it
 * likes, and what it reaches is pinned; while somebody uses the page, it can be reached.
 */
proctype device()
{
end:	do
	:: d_step { pte && !tlb -> tlb = true }
	:: d_step { tlb && !pins -> assert(false) }
	:: d_step { pte && !pins -> assert(false) }
	:: d_step { in_use && !pte -> assert(false) }
	:: ended == MAPPERS + 2 ->
		/* Nothing is lost: what is pinned is known, and nobody uses anything. */
		assert(!lock && pins == shadow && pte == shadow);
		assert(COUNT(entry) == 0);
		/* An entry that counts as there is there. */
		assert(!(entry & SYNCED) || shadow);
		assert(!(entry & PRESENT) || entry & SYNCED);
#ifdef WITNESS_STAYS
		assert(!shadow);
#endif
#ifdef WITNESS_GOES
		assert(shadow);
#endif
#ifdef WITNESS_RECLAIMED
		assert(!reclaimed);
#endif
		break
	od
}

init {
	byte i;

	atomic {
		for (i : 1 .. MAPPERS) {
			run mapper()
		}
		run evictor();
		run reclaimer();
		run device()
	}
}
