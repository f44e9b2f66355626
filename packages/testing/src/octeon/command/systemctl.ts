import type { CommandOutcome } from '@cni-offload/linux/machine'
import type { FileTree } from '../tree/file-tree.ts'
import { type Command, complains, divide, done, exited } from './command.ts'

/** Where units lie, the most important first. */
const UNIT_FOLDERS = ['/etc/systemd/system', '/run/systemd/system', '/usr/lib/systemd/system', '/lib/systemd/system'] as const

/** What starting and stopping a unit really does, for tests that want it to. */
export interface FakeService {
  /** Its command has been started. @throws any error: the unit has failed */
  start(): Promise<void>
  /** Its command has ended. */
  stop(): Promise<void>
}

/** The units of a fake systemd: files tell which there are; what they run is up to {@link FakeService}s. */
export class FakeSystemd {
  readonly #tree: FileTree
  readonly #services = new Map<string, FakeService>()
  readonly #active = new Set<string>()
  readonly #failed = new Set<string>()
  readonly #enabled = new Set<string>()
  #reloads = 0

  constructor(tree: FileTree) {
    this.#tree = tree
  }

  /** How often `daemon-reload` was asked for. */
  get reloads(): number {
    return this.#reloads
  }

  /** From now on a unit does something. */
  serve(unit: string, service: FakeService): void {
    this.#services.set(unit, service)
  }

  /** What a unit runs has ended by itself. */
  ended(unit: string, { failed }: { readonly failed: boolean }): void {
    this.#active.delete(unit)
    if (failed) this.#failed.add(unit)
  }

  /** The machine boots: what is enabled starts. */
  async restart(): Promise<void> {
    this.#active.clear()
    this.#failed.clear()
    for (const unit of this.#enabled) await this.#start(unit)
  }

  /** `systemctl VERB [UNIT…]`. */
  readonly command: Command = async (args) => {
    const { flags, words } = divide(args)
    const [verb = 'list-units', ...names] = words
    if (verb === 'daemon-reload') {
      this.#reloads += 1
      return done()
    }
    const units = names.map((name) => (/\.\w+$/.test(name) ? name : `${name}.service`))
    const outcomes: CommandOutcome[] = []
    for (const unit of units) outcomes.push(await this.#one(verb, unit, flags))
    return {
      exitCode: outcomes.find(({ exitCode }) => exitCode !== 0)?.exitCode ?? 0,
      exitSignal: null,
      stdout: outcomes.map(({ stdout }) => stdout).join(''),
      stderr: outcomes.map(({ stderr }) => stderr).join(''),
    }
  }

  async #one(verb: string, unit: string, flags: readonly string[]): Promise<CommandOutcome> {
    const known = this.#services.has(unit) || (await this.#hasFile(unit))
    if (verb === 'is-active') return this.#isActive(unit)
    if (verb === 'is-enabled') return this.#isEnabled(unit, known)
    if (!known) return complains(verb === 'enable' || verb === 'disable' ? 1 : 5, `Failed to ${verb} ${unit}: Unit ${unit} not found.`)
    const now = flags.includes('--now')
    switch (verb) {
      case 'start':
        return await this.#start(unit)
      case 'stop':
        return await this.#stop(unit)
      case 'restart':
        await this.#stop(unit)
        return await this.#start(unit)
      case 'enable':
        this.#enabled.add(unit)
        return now ? await this.#start(unit) : done()
      case 'disable':
        this.#enabled.delete(unit)
        return now ? await this.#stop(unit) : done()
      case 'reset-failed':
        this.#failed.delete(unit)
        return done()
      default:
        return complains(1, `Unknown command verb '${verb}'.`)
    }
  }

  #isActive(unit: string): CommandOutcome {
    if (this.#active.has(unit)) return done('active\n')
    return exited(3, { stdout: this.#failed.has(unit) ? 'failed\n' : 'inactive\n' })
  }

  #isEnabled(unit: string, known: boolean): CommandOutcome {
    if (!known) return complains(1, `Failed to get unit file state for ${unit}: No such file or directory`)
    return this.#enabled.has(unit) ? done('enabled\n') : exited(1, { stdout: 'disabled\n' })
  }

  async #start(unit: string): Promise<CommandOutcome> {
    if (this.#active.has(unit)) return done()
    this.#failed.delete(unit)
    try {
      await this.#services.get(unit)?.start()
    } catch {
      this.#failed.add(unit)
      return complains(1, `Job for ${unit} failed because the control process exited with error code.`)
    }
    this.#active.add(unit)
    return done()
  }

  async #stop(unit: string): Promise<CommandOutcome> {
    if (this.#active.delete(unit)) await this.#services.get(unit)?.stop()
    return done()
  }

  async #hasFile(unit: string): Promise<boolean> {
    for (const folder of UNIT_FOLDERS) if ((await this.#tree.lookup(`${folder}/${unit}`)) !== undefined) return true
    return false
  }
}
