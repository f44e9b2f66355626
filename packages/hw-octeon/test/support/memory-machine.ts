import { posix } from 'node:path'
import type { CommandOutcome, Machine } from '@cni-offload/linux/machine'

/** What happens on a write: nothing but the text kept, an errno, or whatever the function does. */
export type OnWrite = (text: string) => string | undefined

const systemError = (code: string, path: string): Error => Object.assign(new Error(`${code}: ${path}`), { code })

/** A machine of files in memory; links are relative or absolute texts. Behaviour of the kernel is what a test says of a path. */
export class MemoryMachine implements Machine {
  readonly files = new Map<string, string>()
  readonly links = new Map<string, string>()
  readonly refused = new Map<string, string>()
  readonly onWrite = new Map<string, OnWrite>()
  readonly written: string[] = []
  /** Commands, by their words joined by spaces. What is not there is no command of this machine. */
  readonly commands = new Map<string, Partial<CommandOutcome>>()
  readonly ran: string[] = []
  onRun: ((line: string) => Partial<CommandOutcome> | undefined) | undefined

  constructor(files: Readonly<Record<string, string>> = {}) {
    for (const [path, text] of Object.entries(files)) this.files.set(path, text)
  }

  #resolve(path: string): string {
    const parts = path.split('/').slice(1)
    let at = ''
    for (const [index, part] of parts.entries()) {
      at = posix.join(at === '' ? '/' : at, part)
      const link = this.links.get(at)
      if (link !== undefined && index < parts.length - 1) at = this.#resolve(posix.resolve(posix.dirname(at), link))
    }
    const last = this.links.get(at)
    return last === undefined ? at : this.#resolve(posix.resolve(posix.dirname(at), last))
  }

  #refuse(path: string): void {
    const code = this.refused.get(path)
    if (code !== undefined) throw systemError(code, path)
  }

  read(path: string): Promise<string> {
    return Promise.try(() => {
      this.#refuse(path)
      const text = this.files.get(this.#resolve(path))
      if (text === undefined) throw systemError(this.#children(this.#resolve(path)).length > 0 ? 'EISDIR' : 'ENOENT', path)
      return text
    })
  }

  write(path: string, text: string): Promise<void> {
    return Promise.try(() => {
      this.#refuse(path)
      const real = this.#resolve(path)
      if (!this.files.has(real)) throw systemError('ENOENT', path)
      const code = this.onWrite.get(path)?.(text)
      if (typeof code === 'string') throw systemError(code, path)
      this.written.push(`${path} ${text}`)
      this.files.set(real, `${text}\n`)
    })
  }

  readlink(path: string): Promise<string> {
    return Promise.try(() => {
      this.#refuse(path)
      const parent = this.#resolve(posix.dirname(path))
      const link = this.links.get(posix.join(parent, posix.basename(path)))
      if (link === undefined) throw systemError('ENOENT', path)
      return link
    })
  }

  list(path: string): Promise<string[]> {
    return Promise.try(() => {
      this.#refuse(path)
      const real = this.#resolve(path)
      if (this.files.has(real)) throw systemError('ENOTDIR', path)
      const names = this.#children(real)
      if (names.length === 0) throw systemError('ENOENT', path)
      return names.filter((name) => name !== '.')
    })
  }

  /** A folder that stays when it is empty has a file `.`. */
  #children(folder: string): string[] {
    const prefix = folder === '/' ? '/' : `${folder}/`
    const below = [...this.files.keys(), ...this.links.keys()].filter((path) => path.startsWith(prefix))
    return [...new Set(below.map((path) => path.slice(prefix.length).split('/')[0] ?? ''))]
  }

  place(path: string, text: string): Promise<void> {
    this.files.set(path, text)
    return Promise.resolve()
  }

  remove(path: string): Promise<void> {
    this.files.delete(path)
    return Promise.resolve()
  }

  run(argv: readonly [string, ...string[]], signal: AbortSignal): Promise<CommandOutcome> {
    return Promise.try(() => {
      signal.throwIfAborted()
      const line = argv.join(' ')
      this.ran.push(line)
      const outcome = this.onRun?.(line) ?? this.commands.get(line)
      if (outcome === undefined) throw systemError('ENOENT', argv[0])
      return { exitCode: 0, exitSignal: null, stdout: '', stderr: '', ...outcome }
    })
  }
}
