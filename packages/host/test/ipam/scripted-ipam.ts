import { access, chmod, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'

const NAME = 'scripted'

const record = z.object({ env: z.record(z.string(), z.string()), conf: z.record(z.string(), z.unknown()) })

/** What the plugin was called with. */
export type IpamCall = z.output<typeof record>

/** An IPAM plugin that is a script: a file for each address that it holds, a note of each call, and failures on demand. */
export class ScriptedIpam {
  readonly binDir: string
  readonly #dir: string

  private constructor(dir: string) {
    this.#dir = dir
    this.binDir = join(dir, 'bin')
  }

  static async make(dir: string, result: object): Promise<ScriptedIpam> {
    const made = new ScriptedIpam(dir)
    for (const name of ['bin', 'held', 'calls']) await mkdir(join(dir, name), { recursive: true })
    await made.give(result)
    await writeFile(
      join(dir, 'bin', NAME),
      `#!/bin/sh
cd ${dir}
n=calls/$(date +%s%N).$CNI_COMMAND
{ env | grep ^CNI_ | base64 -w0; echo; cat; } >$n.tmp; mv $n.tmp $n
[ -e hang.$CNI_COMMAND ] && sleep 600
[ $CNI_COMMAND = ADD ] && touch held/$CNI_CONTAINERID
[ -e fail.$CNI_COMMAND ] && { cat fail.$CNI_COMMAND; exit 1; }
case $CNI_COMMAND in
ADD) cat result;;
DEL) rm -f held/$CNI_CONTAINERID;;
VERSION) echo '{"cniVersion":"1.1.0","supportedVersions":["0.2.0","0.3.1","0.4.0","1.0.0","1.1.0"]}';;
esac
exit 0
`,
    )
    await chmod(join(dir, 'bin', NAME), 0o755)
    return made
  }

  /** What ADD prints from now on. */
  async give(result: object): Promise<void> {
    await writeFile(join(this.#dir, 'result'), JSON.stringify(result))
  }

  /** A verb fails from now on, after its effect where it is ADD. */
  async fail(verb: string, code = 999, msg = 'told to fail'): Promise<void> {
    await writeFile(join(this.#dir, `fail.${verb}`), JSON.stringify({ cniVersion: '1.0.0', code, msg }))
  }

  /** A verb hangs from now on. */
  async hang(verb: string): Promise<void> {
    await writeFile(join(this.#dir, `hang.${verb}`), '')
  }

  async mend(): Promise<void> {
    for (const name of await readdir(this.#dir)) if (/^(fail|hang)\./.test(name)) await rm(join(this.#dir, name))
  }

  /** Containers that hold an address. */
  async held(): Promise<string[]> {
    return (await readdir(join(this.#dir, 'held'))).toSorted()
  }

  /** Whether a container holds an address. */
  async holds(containerId: string): Promise<boolean> {
    return await access(join(this.#dir, 'held', containerId)).then(
      () => true,
      () => false,
    )
  }

  /** All calls since they were looked at last, in order. */
  async calls(verb?: string): Promise<IpamCall[]> {
    const names = (await readdir(join(this.#dir, 'calls'))).filter((name) => !name.endsWith('.tmp')).toSorted()
    const calls = await Promise.all(
      names.map(async (name) => {
        const file = join(this.#dir, 'calls', name)
        const [env = '', conf = '{}'] = (await readFile(file, 'utf8')).split('\n')
        await rm(file)
        const lines = Buffer.from(env, 'base64').toString().trim().split('\n')
        return record.parse({
          env: Object.fromEntries(lines.map((line) => line.split(/=(.*)/s).slice(0, 2))),
          conf: JSON.parse(conf) as unknown,
        })
      }),
    )
    return calls.filter(({ env }) => verb === undefined || env['CNI_COMMAND'] === verb)
  }
}
