import { chmod, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { z } from 'zod'

const record = z.object({ verb: z.string(), type: z.string(), env: z.string(), stdin: z.record(z.string(), z.unknown()) })

/** What a recording plugin was called with. */
export type Recorded = z.output<typeof record>

/** A folder of plugins that are shell scripts. */
export class ScriptFolder implements AsyncDisposable {
  readonly path: string

  private constructor(path: string) {
    this.path = path
  }

  static async create(): Promise<ScriptFolder> {
    return new ScriptFolder(await mkdtemp(join(tmpdir(), 'plugins-')))
  }

  async add(name: string, body: string): Promise<void> {
    const path = join(this.path, name)
    await writeFile(path, `#!/bin/sh\n${body}\n`)
    await chmod(path, 0o755)
  }

  /** A plugin that notes each call and then does what `body` says, with its input in `$conf`. */
  async addRecording(name: string, body: string): Promise<void> {
    const file = `${this.path}/call.$(date +%s%N).$$`
    await this.add(
      name,
      `conf=$(cat)\nf=${file}\n{ echo "$CNI_COMMAND"; echo ${name}; env | base64 -w0; echo; echo "$conf" | tr -d '\\n'; } >$f.tmp; mv $f.tmp $f\n${body}`,
    )
  }

  /** All calls so far, in order. */
  async calls(): Promise<Recorded[]> {
    const files = (await readdir(this.path)).filter((name) => name.startsWith('call.') && !name.endsWith('.tmp')).toSorted()
    return await Promise.all(
      files.map(async (name) => {
        const [verb, type, env = '', stdin = ''] = (await readFile(join(this.path, name), 'utf8')).split('\n')
        return record.parse({
          verb,
          type,
          env: Buffer.from(env, 'base64').toString(),
          stdin: stdin === '' ? {} : (JSON.parse(stdin) as unknown),
        })
      }),
    )
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.path, { recursive: true, force: true })
  }
}
