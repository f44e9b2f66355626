import { type Link, type LinuxNet, type NetOp, PRISTINE_TRAITS } from '@cni-offload/linux'
import { type Clock, formatAttachmentKey, type HostDevice, OffloadError, silentLogger, systemClock } from '@cni-offload/sdk'
import { KeyedMutex, RepairLedger } from '@cni-offload/sdk/runtime'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { SqliteJournal } from '../../src/journal/sqlite-journal.ts'
import { Reconciler } from '../../src/reconcile/reconciler.ts'
import { leaseOf, RESULT, vfsOf } from '../support/row.ts'

const HOME = '/home'
const POD = '/run/netns/a'
const [ADDRESS] = RESULT.ips.map(({ address }) => address)
const NEVER = new AbortController().signal
const RARE = { repairBurst: 1_000, repairEveryMs: 1, repairPauseMs: 0, repairPauseMaxMs: 0 }

type Act = 'add' | 'del' | 'steal' | 'flush' | 'down' | 'lose' | 'rest'

/** One VF and one pod, whose kernel takes as long as the schedule says. */
class World {
  readonly journal = new SqliteJournal(':memory:', systemClock)
  readonly locks = new KeyedMutex()
  readonly wrong: string[] = []
  readonly reconciler: Reconciler
  readonly #pause: () => Promise<unknown>
  readonly #request = leaseOf('a', { netns: POD, netnsIdentity: 'a' })
  at = HOME
  up = false
  addresses: string[] = []

  constructor(pause: () => Promise<unknown>) {
    this.#pause = pause
    this.journal.syncVfs(vfsOf(1))
    const clock: Clock = { ...systemClock, sleep: async () => void (await pause()) }
    this.reconciler = new Reconciler({
      journal: this.journal,
      locks: this.locks,
      net: this.#net() as LinuxNet,
      device: this.#device() as HostDevice,
      hostNetns: { path: HOME, identity: 'home' },
      ipv6: false,
      ledger: new RepairLedger({ clock, limits: RARE, log: silentLogger }),
      clock,
      limits: { reconcileMs: 1, undoMs: 60_000 },
      log: silentLogger,
    })
  }

  async act(what: Act): Promise<void> {
    if (what === 'add') await this.locks.run(formatAttachmentKey(this.#request.intent.key), NEVER, () => this.#add())
    else if (what === 'del') await this.locks.run(formatAttachmentKey(this.#request.intent.key), NEVER, () => this.#del())
    else if (what === 'rest') for (let turn = 0; turn < 12; turn++) await this.#pause()
    else {
      await this.#pause()
      if (what === 'lose' && this.at === HOME && this.journal.counts().vfs.free === 1) this.at = '/elsewhere'
      if (this.at !== POD || what === 'lose') return
      if (what === 'down') this.up = false
      else this.addresses = []
      if (what === 'steal') this.at = HOME
    }
  }

  async #add(): Promise<void> {
    const { intent } = this.#request
    if (this.journal.get(intent.key) !== undefined || this.journal.counts().vfs.free === 0) return
    this.journal.lease(this.#request)
    await this.#pause()
    if (this.at !== HOME) return await this.#del()
    this.at = POD
    await this.#pause()
    if (this.at !== POD) return await this.#del()
    this.journal.attached(intent.key, RESULT)
    this.up = true
    this.addresses = [ADDRESS!]
    this.journal.wired(intent.key)
  }

  async #del(): Promise<void> {
    const { key } = this.#request.intent
    if (this.journal.get(key) === undefined) return
    this.journal.detaching(key)
    await this.#pause()
    this.#comeHome()
    await this.#pause()
    if (this.at !== HOME) this.wrong.push('a VF is free that is not at home')
    this.journal.free(key)
  }

  #comeHome(): void {
    Object.assign(this, { at: HOME, up: false, addresses: [] })
  }

  /** Only a wired attachment may be touched from behind. */
  #touch(what: string): void {
    const phase = this.journal.all()[0]?.phase
    if (phase !== 'wired') this.wrong.push(`${what} while ${phase ?? 'free'}`)
  }

  #net(): Partial<LinuxNet> {
    const eth0 = (): Link[] =>
      this.at !== POD
        ? []
        : [
            {
              index: 2,
              name: 'eth0',
              mac: RESULT.mac,
              mtu: RESULT.mtu,
              up: this.up,
              carrier: true,
              alias: '',
              kind: '',
              traits: PRISTINE_TRAITS,
              altNames: [],
              stats: { rxPackets: 0n, txPackets: 0n, rxBytes: 0n, txBytes: 0n },
            },
          ]
    const within = async <T>(look: () => T): Promise<T> => {
      await this.#pause()
      if (this.at !== POD) throw new OffloadError('NOT_FOUND', 'there is no device eth0')
      return look()
    }
    return {
      netnsIdentity: async () => 'a',
      links: async () => {
        await this.#pause()
        return eth0()
      },
      addresses: () => within(() => [...this.addresses]),
      routes: () => within(() => []),
      apply: async (_netns, ops) => {
        await this.#pause()
        for (const op of ops) this.#apply(op)
      },
    }
  }

  #apply(op: NetOp): void {
    if (op.op === 'link.move') {
      this.#touch('VF moved')
      Object.assign(this, { at: op.netns, up: false, addresses: [] })
    } else if (this.at !== POD) throw new OffloadError('NOT_FOUND', 'there is no device eth0')
    else if (op.op === 'addr.add') {
      this.#touch('address added')
      this.addresses.push(op.address)
    } else if (op.op === 'link.set' && op.up === true) this.up = true
  }

  #device(): Partial<HostDevice> {
    return {
      discover: async () => {
        await this.#pause()
        const found = vfsOf(1).map((vf) => (this.at === HOME ? { ...vf, netdev: 'vf0' } : vf))
        await this.#pause()
        return found
      },
      acquire: async () => {
        await this.#pause()
        this.#touch('VF prepared')
        return { name: 'vf0', mac: RESULT.mac, mtu: RESULT.mtu }
      },
      release: async () => {
        await this.#pause()
        if (this.journal.vfs()[0]?.state !== 'free') this.wrong.push('a VF that somebody has is brought home')
        if (this.at === HOME) this.wrong.push('a VF is brought home that is there')
        this.#comeHome()
      },
    }
  }

  /** Whether all is as the journal says. */
  get settled(): boolean {
    const wired = this.journal.all()[0]?.phase === 'wired'
    return wired ? this.at === POD && this.up && this.addresses.join() === ADDRESS : this.at === HOME
  }
}

describe('the reconciler of the host', () => {
  it('comes in no call’s way, whatever overlaps, and in the end all is as the journal says', async () => {
    const acts = fc.array(fc.constantFrom<Act>('add', 'add', 'add', 'del', 'del', 'steal', 'flush', 'down', 'lose', 'lose', 'rest'), {
      minLength: 3,
      maxLength: 14,
    })
    await fc.assert(
      fc.asyncProperty(fc.scheduler(), acts, async (scheduler, list) => {
        const world = new World(() => scheduler.schedule(Promise.resolve()))
        const end = new AbortController()
        const running = world.reconciler.run(end.signal)
        const played = (async () => {
          for (const act of list) {
            const done = world.act(act)
            if (act === 'rest') await done
            // Some calls of the list overlap, the schedule decides which.
            await Promise.race([done, scheduler.schedule(Promise.resolve())])
          }
        })()
        await scheduler.waitFor(played)
        for (let turn = 0; turn < 2_000 && (!world.settled || world.locks.size > 0); turn++) {
          if (scheduler.count() > 0) await scheduler.waitOne()
          else await new Promise((resolve) => setImmediate(resolve))
        }
        expect(world.wrong).toEqual([])
        expect(world.settled).toBe(true)
        end.abort(new OffloadError('CANCELLED', 'over'))
        await scheduler.waitFor(running)
        world.journal[Symbol.dispose]()
      }),
      { numRuns: 250 },
    )
  }, 120_000)
})
