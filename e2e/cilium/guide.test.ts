import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { mkdtemp, readdir, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { needsRoot } from '../fixture.ts'

const run = promisify(execFile)
const root = fileURLToPath(new URL('../..', import.meta.url))
const guide = readFileSync(join(root, 'docs/guides/cilium.md'), 'utf8')
const section = /\n## Try it without a cluster\n([\s\S]*?)\n## /.exec(guide)?.[1] ?? ''
const blocks = (language: string): string[] =>
  Array.from(section.matchAll(new RegExp(`\`\`\`${language}\\n([^\`]+)`, 'g')), ([, text = '']) => text)

/** The demo has a test of its own. */
const commands = blocks('sh').filter((block) => !block.startsWith('./run demo'))

/** In a mount namespace with no network namespaces of others: a lab may be up whose names are the same. */
const ALONE = `mount -t tmpfs netns /run/netns\nexec bash -euo pipefail commands.sh`

/** Of a command that fails no lab must stay. */
const CLEAN_UP = `trap './run lab down >&2' EXIT`

test.skipIf(needsRoot)(
  'the commands of docs/guides/cilium.md work as they stand there (needs root for namespaces)',
  async () => {
    expect(commands).toHaveLength(1)
    const dir = await mkdtemp(join(tmpdir(), 'cni-offload-guide-'))
    try {
      await symlink(join(root, 'run'), join(dir, 'run'))
      await writeFile(join(dir, 'starwars.yaml'), blocks('yaml').find((block) => block.startsWith('# starwars.yaml')) ?? '')
      await writeFile(join(dir, 'commands.sh'), `${CLEAN_UP}\n${commands.join('')}ls /run/netns\n`)
      const { stdout } = await run('unshare', ['--mount', 'bash', '-euc', ALONE], { cwd: dir, timeout: 240_000 })
      for (const done of ['CiliumNetworkPolicy starwars/rule1 applied', 'Pod starwars/xwing deleted']) expect(stdout).toContain(done)
      expect(stdout.trimEnd().split('\n').at(-1), 'what is said last, no namespace after it').toBe('the lab is down')
      expect((await readdir(dir)).toSorted()).toEqual(['commands.sh', 'run', 'starwars.yaml'])
    } finally {
      await rm(dir, { recursive: true, force: true })
    }
  },
  270_000,
)
