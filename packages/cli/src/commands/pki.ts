import { join } from 'node:path'
import { Command, Option } from 'commander'
import { createAuthority, describeCertificate, issueCertificate } from '@cni-offload/protocol/pki'
import { count } from './options.ts'

const say = (text: string): boolean => process.stdout.write(`${text}\n`)

/** `offload pki …`: certificates for a lab or a small installation. */
export function pkiCommand(): Command {
  const pki = new Command('pki').description('certificates for the link between hosts and DPUs')
  pki
    .command('init')
    .description('make a certificate authority')
    .requiredOption('--dir <dir>', 'folder of the authority')
    .option('--days <n>', 'validity', count, 3650)
    .action(async (options: { dir: string; days: number }) => {
      await createAuthority(options)
      say(`authority made in ${options.dir}; keep ${join(options.dir, 'ca.key')} secret`)
    })
  pki
    .command('issue')
    .description('issue the certificate of one daemon')
    .requiredOption('--dir <dir>', 'folder of the authority')
    .requiredOption('--node <name>', 'node that the daemon belongs to')
    .addOption(new Option('--role <role>', 'which daemon').choices(['host', 'agent']).makeOptionMandatory())
    .requiredOption('--out <dir>', 'folder for certificate and key')
    .option('--days <n>', 'validity', count, 365)
    .action(async (options: { dir: string; node: string; role: 'host' | 'agent'; out: string; days: number }) => {
      const files = await issueCertificate({
        authority: options.dir,
        role: options.role,
        node: options.node,
        out: options.out,
        days: options.days,
      })
      say(`${files.cert}\n${files.key}`)
    })
  pki
    .command('show')
    .description('say what a certificate is')
    .argument('<file>', 'PEM file')
    .action(async (file: string) => {
      say(JSON.stringify(await describeCertificate(file), null, 2))
    })
  return pki
}
