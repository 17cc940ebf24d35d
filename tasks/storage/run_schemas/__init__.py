"""The shape of the files in the folder of a run, with which clipes checks them when it reads them."""
