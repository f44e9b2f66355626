import { Command } from 'commander'
import { cfgCommand } from '../octeon/cfg.ts'
import { cryptoCommand } from '../octeon/crypto.ts'
import { inventoryCommand } from '../octeon/inventory.ts'
import { setupCommand } from '../octeon/setup.ts'
import { type OcteonSite, THIS_MACHINE } from '../octeon/site.ts'
import { unitCommand } from '../octeon/unit.ts'

/** `offload octeon …`: a Marvell OCTEON, before and beside the daemons. */
export function octeonCommand(site: OcteonSite = THIS_MACHINE): Command {
  return new Command('octeon')
    .description('Marvell OCTEON: its functions, set-up, control agent and crypto engine')
    .addCommand(inventoryCommand(site))
    .addCommand(setupCommand(site))
    .addCommand(cfgCommand())
    .addCommand(unitCommand(site))
    .addCommand(cryptoCommand(site))
}
