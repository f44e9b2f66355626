import type { NetnsPath } from '@cni-offload/linux'
import type { CommandOutcome, Machine } from '@cni-offload/linux/machine'
import type { Command } from './command/command.ts'
import { mkdir, mount, rmdir, umount } from './command/files.ts'
import { modprobe, rmmod } from './command/modules.ts'
import { inNamespace, NETWORK_PROGRAMS } from './command/network.ts'
import { dmesg, kill, lsmod, uname } from './command/system.ts'
import { FakeSystemd } from './command/systemctl.ts'
import type { FakeKernel } from './kernel/fake-kernel.ts'
import { SystemError } from './system-error.ts'
import type { Turnstile } from './turnstile.ts'
import { folder } from './tree/entry.ts'
import { FileTree } from './tree/file-tree.ts'
import { OrdinaryFolder } from './tree/ordinary.ts'

/** Folders of a new machine. */
const FOLDERS = ['/etc/systemd/system', '/lib/firmware', '/run', '/tmp', '/usr/bin', '/usr/lib/systemd/system', '/var/lib', '/var/log']

/** Folders whose files do not outlive a boot. */
const VOLATILE = ['run', 'tmp'] as const

/** What a fake machine is made of. */
export interface FakeMachineParts {
  /** Its kernel. */
  readonly kernel: FakeKernel
  /** One change at a time. */
  readonly turnstile: Turnstile
  /** Its files; made by {@link emptyDisk}. */
  readonly disk: Disk
  /** Its network namespace; without, programs of the network are missing. */
  readonly netns?: NetnsPath
}

/** The files of a machine before its kernel is known. */
export interface Disk {
  readonly root: OrdinaryFolder
  readonly tree: FileTree
}

/** A disk with nothing on it. @param kernel - asked for the folders of the kernel when somebody looks */
export function emptyDisk(kernel: () => FakeKernel): Disk {
  const root = new OrdinaryFolder(async () => await folder(() => kernel().root()).entries())
  return { root, tree: new FileTree(root) }
}

/**
 * A machine that an OCTEON card is plugged into, or Linux on that card: files and commands that behave as those of the real one, in
 * memory. What it does not know is missing, as on a machine without it.
 */
export class FakeOcteonMachine implements Machine {
  /** Its services. */
  readonly systemd: FakeSystemd
  readonly #parts: FakeMachineParts
  readonly #commands = new Map<string, Command>()

  constructor(parts: FakeMachineParts) {
    const { kernel, disk, netns } = parts
    this.#parts = parts
    this.systemd = new FakeSystemd(disk.tree)
    const own: Readonly<Record<string, Command>> = {
      dmesg: dmesg(kernel),
      kill: kill(kernel),
      lsmod: lsmod(kernel),
      mkdir: mkdir(disk.tree),
      modprobe: this.#serial(modprobe(kernel)),
      mount: mount(kernel, disk.tree),
      rmdir: rmdir(disk.tree),
      rmmod: this.#serial(rmmod(kernel)),
      systemctl: this.systemd.command,
      umount: umount(kernel),
      uname: uname(kernel),
    }
    for (const [name, command] of Object.entries(own)) this.#commands.set(name, command)
    for (const name of NETWORK_PROGRAMS) if (netns !== undefined) this.#commands.set(name, inNamespace(name, netns))
  }

  async read(path: string): Promise<string> {
    return await this.#parts.disk.tree.read(path)
  }

  async write(path: string, text: string): Promise<void> {
    await this.#parts.turnstile.run(() => this.#parts.disk.tree.write(path, text))
  }

  async readlink(path: string): Promise<string> {
    return await this.#parts.disk.tree.readlink(path)
  }

  async list(path: string): Promise<string[]> {
    return await this.#parts.disk.tree.list(path)
  }

  async place(path: string, text: string, mode: number = 0o644): Promise<void> {
    await this.#parts.disk.tree.place(path, text, mode)
  }

  async remove(path: string): Promise<void> {
    await this.#parts.disk.tree.remove(path)
  }

  async run(argv: readonly [string, ...string[]], signal: AbortSignal): Promise<CommandOutcome> {
    signal.throwIfAborted()
    const [program, ...args] = argv
    const command = this.#commands.get(program.replace(/^(?:\/usr)?\/s?bin\//, ''))
    if (command === undefined) throw new SystemError('ENOENT', `spawn ${program}`, program)
    return await command(args, signal)
  }

  /** Adds a program, or replaces one. */
  install(program: string, command: Command): void {
    this.#commands.set(program, command)
  }

  /**
   * All files and links below a folder, by path: text, or `-> target`. Links are not followed. For comparing before and after.
   * A file that cannot be read is left out.
   */
  async snapshot(path: string = '/'): Promise<ReadonlyMap<string, string>> {
    const found = new Map<string, string>()
    await this.#collect(path === '/' ? '' : path, found)
    return found
  }

  /** Folders that every machine has. */
  async format(): Promise<void> {
    for (const path of FOLDERS) await this.#parts.disk.tree.makeFolder(path, true)
  }

  /** Empties what does not outlive a boot. */
  async wipeVolatile(): Promise<void> {
    for (const name of VOLATILE) this.#parts.disk.root.own.delete(name)
    await this.format()
  }

  async #collect(path: string, found: Map<string, string>): Promise<void> {
    for (const name of (await this.list(path === '' ? '/' : path)).toSorted()) {
      const at = `${path}/${name}`
      const target = await this.readlink(at).catch(() => undefined)
      if (target !== undefined) found.set(at, `-> ${target}`)
      else if ((await this.#parts.disk.tree.lookup(at))?.kind === 'folder') await this.#collect(at, found)
      else {
        const text = await this.read(at).catch(() => undefined)
        if (text !== undefined) found.set(at, text)
      }
    }
  }

  /** A command that changes what the drivers have. */
  #serial(command: Command): Command {
    return (args, signal) => this.#parts.turnstile.run(() => command(args, signal))
  }
}
